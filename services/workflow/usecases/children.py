"""Workflows that actions of other workflows are."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from services.chassis.errors import FailedPrecondition, NotFound, ServiceError, Unavailable
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Action
from services.workflow.domain.instance import Instance, Phase
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded, child_ended, failed
from services.workflow.domain.refusals import is_corrupt
from services.workflow.usecases.workflows import MAX_DEPTH, Caller, Once, Start, Workflows

_DEEP: Final = ev.Failure(
    "FAILED_PRECONDITION",
    "WORKFLOWS_TOO_DEEP",
    f"{MAX_DEPTH} workflows stand above it already",
    "let it signal another workflow instead of starting one",
)


class ChildWorkflows:
    """See `Children`. They are started for the owner of the workflow above them."""

    def __init__(self, workflows: Callable[[], Workflows]) -> None:
        """`workflows` is asked for when it is needed: it is made after those who need this."""
        self._workflows = workflows

    async def start(
        self, action: Action, data: Mapping[str, object], *, key: str, parent: Instance
    ) -> str | Outcome:
        """See `Children`."""
        spec = parent.spec
        if spec.depth + 1 >= MAX_DEPTH:
            return Failed(_DEEP)
        start = Start(
            definition=action.target,
            version=int(action.version or 0),
            data=data,
            correlation_id=spec.correlation_id,
            labels=spec.labels,
            parent_workflow_id=spec.workflow_id,
            depth=spec.depth + 1,
        )
        caller = Caller(spec.tenant, spec.owner, spec.trace_id)
        try:
            at = await self._workflows().start(start, caller, Once(key, action.target))
        except ServiceError as error:
            return replace(failed(error), is_uncertain=isinstance(error, Unavailable))
        return at.instance.spec.workflow_id

    async def find(self, action: Action, *, key: str, parent: Instance) -> str:
        """See `Children`."""
        caller = Caller(parent.spec.tenant, parent.spec.owner, parent.spec.trace_id)
        return await self._workflows().started(caller, Once(key, action.target))

    async def tell(self, tenant: str, workflow_id: str) -> None:
        """See `Children`."""
        caller = Caller(tenant, ev.WORKFLOW, "")
        child = (await self._workflows().get(caller, workflow_id)).instance
        above = child.spec.parent_workflow_id
        if not above or (what := _came_of(child)) is None:
            return
        with suppress(NotFound):
            await self._workflows().change(
                caller, above, lambda at: child_ended(at, workflow_id, what)
            )

    async def ended(self, tenant: str, workflow_id: str) -> Outcome | None:
        """See `Children`."""
        try:
            at = await self._workflows().get(Caller(tenant, ev.WORKFLOW, ""), workflow_id)
        except ServiceError as error:
            if is_corrupt(error, workflow_id):
                return None  # Its events can be restored.
            raise
        return _came_of(at.instance)

    async def cancel(self, tenant: str, workflow_id: str, reason: str) -> None:
        """See `Children`."""
        try:
            await self._workflows().cancel(Caller(tenant, ev.WORKFLOW, ""), workflow_id, reason)
        except (FailedPrecondition, NotFound):
            return  # It has ended.
        except ServiceError as error:
            if not is_corrupt(error, workflow_id):  # That goes on no more either.
                raise


def _came_of(child: Instance) -> Outcome | None:
    workflow_id = child.spec.workflow_id
    if child.phase is Phase.COMPLETED:
        said = {"workflow_id": workflow_id, "status": child.phase.value, "data": child.data}
        return Succeeded(said)
    if not child.is_at_end:
        return None
    message = f"{workflow_id} is {child.phase.value}"
    return Failed(ev.Failure("FAILED_PRECONDITION", "WORKFLOW_NOT_COMPLETED", message))
