"""Spans of workflows. What happens to one is in its log: the log's writer tells its span."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from time import perf_counter
from typing import Any, Final

from services.chassis.context import RequestContext, current
from services.chassis.eventlog.port import Claim, Key
from services.chassis.lately import Lately
from services.chassis.tracing import names
from services.chassis.tracing.lives import Lives
from services.chassis.tracing.spans import Facts, Nothing, is_recording, serving
from services.workflow.adapters.workflowlog import EventStoreWorkflows
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Definition
from services.workflow.domain.instance import Instance
from services.workflow.ports import Appended, Loaded

_MOST_BEGUN: Final = 1024
_ALWAYS: Final[Facts] = {names.OPERATION: "invoke_workflow"}
# What of a log is an event of the span.
_EVENTS: Final[dict[type[Any], str]] = {
    ev.Moved: "moved",
    ev.ValidationRequested: "approval_asked",
    ev.ValidationRejected: "approval_denied",
    ev.ActionAttemptFailed: "retry",
    ev.ActionFailed: "action_failed",
    ev.CancelRequested: "cancel_requested",
    ev.CompensationStarted: "compensation_started",
    ev.CompensationAttemptFailed: "compensation_retry",
    ev.CompensationFailed: "compensation_failed",
    ev.ChildStarted: "child_started",
}


class WorkflowSpans:
    """The spans of the workflows that are worked on here."""

    def __init__(self) -> None:
        self._lives = Lives()
        self.begun: Lately[tuple[str, str], RequestContext] = Lately(_MOST_BEGUN)
        """By whose calls they began, until they are worked on."""

    def running(self, instance: Instance, claim: Claim) -> AbstractContextManager[None]:
        """`invoke_workflow`, for as long as a workflow is held here. Each time that it goes on is
        linked to the time before."""
        spec = instance.spec
        facts: Facts = {
            names.WORKFLOW: spec.definition,
            names.WORKFLOW_ID: spec.workflow_id,
            names.TENANT: spec.tenant,
            names.STATE: instance.state,
        }
        of = spec.tenant, spec.workflow_id
        if (here := self.begun.get(of)) is not None:
            self.begun.drop(of)
            current.set(here)
        title = f"invoke_workflow {spec.definition}"
        return self._lives.running(title, facts, always=_ALWAYS, of=of, number=claim.epoch)

    def told(self, instance: Instance, events: Sequence[ev.Event], seconds: float) -> None:
        """This was appended to a workflow's log in so much time, and this is how it stands."""
        living = self._lives.of(instance.spec.tenant, instance.spec.workflow_id)
        if isinstance(living, Nothing):
            return
        living.appended(len(events), seconds)
        for event in events:
            if (known := _EVENTS.get(type(event))) is not None:
                living.event(known, _said(event))
        living.set(names.STATE, instance.state)
        if instance.failure is not None:
            living.fail(instance.failure.reason)


class TracedWorkflows(EventStoreWorkflows):
    """The logs of workflows, whose appends are known to the spans of their workflows."""

    @cached_property
    def spans(self) -> WorkflowSpans:
        """The spans of workflows that are worked on here."""
        return WorkflowSpans()

    async def begin(
        self, definition: Definition, decided: Decided, *, takes: bool, key: Key | None = None
    ) -> Appended:
        """See `WorkflowLog`."""
        start = perf_counter()
        begun = await super().begin(definition, decided, takes=takes, key=key)
        serving().appended(len(decided[1]), perf_counter() - start)
        if is_recording():
            spec = decided[0].spec
            self.spans.begun.put((spec.tenant, spec.workflow_id), current.get())
        return begun

    async def append(
        self,
        loaded: Loaded,
        decided: Decided,
        *,
        takes: bool = False,
        claim: Claim | None = None,
        key: Key | None = None,
    ) -> Appended:
        """See `WorkflowLog`."""
        if not is_recording():
            return await super().append(loaded, decided, takes=takes, claim=claim, key=key)
        start = perf_counter()
        appended = await super().append(loaded, decided, takes=takes, claim=claim, key=key)
        self.spans.told(appended.loaded.instance, decided[1], perf_counter() - start)
        return appended


def _said(event: object) -> Facts:
    """Of a definition's own words, and reasons: never what somebody wrote."""
    facts: dict[str, str | int] = {}
    if isinstance(event, ev.Moved):
        facts |= {"from": event.previous, "to": event.state, "cause": event.cause}
    if isinstance(failure := getattr(event, "failure", None), ev.Failure):
        facts[names.ERROR] = failure.reason
    return facts
