"""Reading workflows again from their first event, and mending what does not follow from them."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.chassis.errors import Aborted, Internal, NotFound, ResourceExhausted
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import after
from services.workflow.domain.instance import Standing
from services.workflow.domain.refusals import missing
from services.workflow.domain.verification import (
    BEHIND,
    Beside,
    Fault,
    Finding,
    Following,
    Recorded,
    Verified,
)
from services.workflow.ports import DefinitionStore, Histories, Loaded, WorkflowLog
from services.workflow.usecases.workflows import Caller, Hands

ATTEMPTS: Final = 20
"""How often a workflow is read again because somebody moved it meanwhile."""
_PLACES: Final = {
    Fault.SNAPSHOT_DIFFERS: "snapshot",
    Fault.PROJECTION_DIFFERS: "projection",
    Fault.PROJECTION_MISSING: "projection",
}


class Verifications:
    """Verifies workflows."""

    def __init__(
        self,
        histories: Histories,
        logs: WorkflowLog,
        definitions: DefinitionStore,
        hands: Hands,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._histories = histories
        self._logs = logs
        self._definitions = definitions
        self._hands = hands
        self._now = now

    async def verify(self, tenant: str, workflow_id: str) -> Verified:
        """Read a workflow's events. What is kept beside them and differs is written anew, unless
        the events are not what was recorded: then nothing is.

        Raises:
            NotFound: `WORKFLOW_NOT_FOUND`.
            Aborted: `SEQUENCE_CONFLICT`; it changes all the time.
            Unavailable: `WRITTEN_BY_NEWER_VERSION`; that one verifies it.
        """
        for _ in range(ATTEMPTS):
            beside = await self._histories.beside(tenant, workflow_id)
            following = await self._followed(tenant, workflow_id, beside)
            if beside.shown is None and not following.count:
                raise missing(workflow_id)
            found = _verified(workflow_id, following)
            if found.is_broken or not found.findings:
                return found
            if (await self._histories.beside(tenant, workflow_id)).mark != beside.mark:
                if found.findings == [BEHIND]:  # It was right, and was moved while it was read.
                    return replace(found, findings=())
                continue  # What differed is written anew.
            try:
                return await self._repaired(following, found)
            except Aborted:
                continue
        message = f"{workflow_id} was moved each of {ATTEMPTS} times that it was read"
        raise Aborted("SEQUENCE_CONFLICT", message, workflow_id=workflow_id)

    async def asked(self, caller: Caller, workflow_id: str) -> Verified:
        """The same for a caller; one that is whole and was given up is taken up again. Raises as
        `verify`."""
        found = await self.verify(caller.tenant, workflow_id)
        if not found.is_broken:
            await self.resume(caller.tenant, workflow_id)
        return found

    async def resume(self, tenant: str, workflow_id: str) -> None:
        """Have a workflow that was given up, and is whole again, taken up."""
        with suppress(Aborted):  # Somebody moves it already.
            if (appended := await self._logs.resume(tenant, workflow_id)) is not None:
                self._hands.take(appended)

    async def _followed(self, tenant: str, workflow_id: str, beside: Beside) -> Following:
        following: Following | None = None
        async with aclosing(self._histories.pages(tenant, workflow_id)) as pages:
            async for page in pages:
                if following is None:
                    definition = await self._definition(tenant, page[0])
                    following = Following(definition, beside)
                for each in page:
                    following.follow(each)
                await asyncio.sleep(0)  # Others have their turn, however long the log is.
        return following or Following(None, beside)

    async def _definition(self, tenant: str, first: Recorded) -> Definition | None:
        if not isinstance(first.event, ev.Started):
            return None
        spec = first.event.spec
        try:
            return await self._definitions.get(tenant, spec.definition, spec.version)
        except (NotFound, Internal):
            return None

    async def _repaired(self, following: Following, found: Verified) -> Verified:
        """Raises as `WorkflowLog.repair`."""
        if following.definition is None or following.instance is None:
            raise KeyError(found.workflow_id)
        problems = tuple(f"{_PLACES[each.fault]}: {each.message}" for each in found.findings)
        loaded = Loaded(following.definition, following.instance, following.head)
        at = Standing(loaded.definition, loaded.instance, self._now())
        event = ev.ProjectionRepaired(at.now, problems)
        try:
            decided = (after(at, event).instance, [event])
            appended = await self._logs.repair(loaded, decided)
        except ResourceExhausted:
            return found  # The next time there may be room.
        self._hands.take(appended)
        last = appended.loaded.instance.sequence
        return replace(
            found,
            count=found.count + 1,
            last_sequence=last,
            findings=[_repaired(each) for each in found.findings],
        )


def _verified(workflow_id: str, following: Following) -> Verified:
    return Verified(workflow_id, following.count, following.sequence, following.end())


def _repaired(finding: Finding) -> Finding:
    return replace(finding, is_repaired=True)
