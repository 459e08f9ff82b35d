"""Spans of workflows. What happens to one is in its log: the log's writer tells its span."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Final

from services.chassis.context import RequestContext, current
from services.chassis.eventlog.port import Claim
from services.chassis.lately import Lately
from services.chassis.tracing import names
from services.chassis.tracing.lives import Lives
from services.chassis.tracing.spans import Facts, Nothing, is_recording, serving
from services.workflow.adapters.workflowlog import EventStoreWorkflows
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.instance import Instance

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

    def _appended(self, before: Instance | None, decided: Decided, seconds: float) -> None:
        super()._appended(before, decided, seconds)
        instance, events = decided
        if before is not None:
            self.spans.told(instance, events, seconds)
            return
        serving().appended(len(events), seconds)
        if is_recording():
            spec = instance.spec
            self.spans.begun.put((spec.tenant, spec.workflow_id), current.get())


def _said(event: object) -> Facts:
    """Of a definition's own words, and reasons: never what somebody wrote."""
    facts: dict[str, str | int] = {}
    if isinstance(event, ev.Moved):
        facts |= {"from": event.previous, "to": event.state, "cause": event.cause}
    if isinstance(failure := getattr(event, "failure", None), ev.Failure):
        facts[names.ERROR] = failure.reason
    return facts
