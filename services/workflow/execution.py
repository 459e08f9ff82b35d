"""One workflow in a worker's hands: steps are done and recorded until there is nothing to do."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeGuard

from services.chassis.concerning import concerning
from services.chassis.context import current, resumed
from services.chassis.errors import Aborted, Unavailable
from services.chassis.eventlog.newer import is_newer
from services.chassis.eventlog.port import Claim
from services.workflow.domain.advance import Decided
from services.workflow.domain.decide import reminded
from services.workflow.domain.definition import Kind
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.outcomes import stopped
from services.workflow.domain.steps import Ask, Over, Rest, Run, Step, is_current, next_step
from services.workflow.domain.timing import timed
from services.workflow.effects import Decide, Effects
from services.workflow.ports import Appended, Loaded, WorkflowLog

log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(milliseconds=100)
"""Until a store that is away is asked again, at first; each time twice as long."""
MOST_PATIENCE: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class World:
    """What executions work with."""

    logs: WorkflowLog
    effects: Effects
    now: Callable[[], datetime]
    linger: timedelta
    """A workflow that rests no longer than this is kept."""
    traced: Callable[[Instance, Claim], AbstractContextManager[None]] = lambda *_: nullcontext()
    """What tells others of a workflow, as long as it is held here."""


class Execution:
    """Goes on until the workflow rests or is over, or its claim is lost."""

    def __init__(self, world: World, claim: Claim, loaded: Loaded | None = None) -> None:
        self.claim = claim
        self.next: Execution | None = None
        """Who goes on under a later claim, when this has ended."""
        self._world = world
        self._loaded = loaded
        self._step: Step | None = None
        self._scope: asyncio.Timeout | None = None
        """Of a step that can be cut short."""
        self._moved = asyncio.Event()

    def move(self, loaded: Loaded) -> None:
        """Somebody else has recorded something: what is not wanted any more stops."""
        if not self._learn(loaded):
            return
        self._moved.set()
        if self._scope is None or self._scope.expired() or self._is_wanted(loaded):
            return
        self._scope.reschedule(asyncio.get_running_loop().time())

    async def look(self) -> None:
        """The same, where it is not known whether something was recorded."""
        self.move(await self._load(is_fresh=True))

    async def run(self) -> None:
        """Do what is to be done.

        Raises:
            Aborted: `CLAIM_LOST`; somebody else has it.
            ServiceError: its log, or that of a workflow that it started, cannot be read.
        """
        loaded, is_held = self._loaded or await self._load(), True
        spec = loaded.instance.spec
        current.set(resumed(spec.tenant, spec.owner, spec.trace_id))
        concerning.set({"workflow_id": spec.workflow_id})
        with self._world.traced(loaded.instance, self.claim):
            while is_held:
                self._learn(loaded)
                at = self._at(self._loaded or loaded)
                self._step = next_step(at)
                appended = await self._record(self._step, await self._decision(at, self._step))
                loaded, is_held = appended.loaded, appended.claim is not None
            await self._world.effects.told(self._at(loaded))

    async def _decision(self, at: Standing, step: Step) -> Decide:
        """What is to be decided once the step is done, or was cut short."""
        self._moved.clear()
        if isinstance(step, Over):
            return reminded
        if isinstance(step, Rest):
            await self._rest(step)
            return reminded
        if not _can_be_cut_short(step):
            return await self._world.effects.done(at, step)
        left = max(at.until - at.now, timedelta(0)).total_seconds() if at.until else None
        try:
            async with asyncio.timeout(left) as self._scope:
                return await self._world.effects.done(at, step)
        except TimeoutError:
            self._scope = None
            await self._world.effects.cut_short(at, step)
            return partial(_cut_short, step, at.until)
        finally:
            self._scope = None

    async def _rest(self, step: Rest) -> None:
        """Wait for a moment, or for somebody to move it. Where the time is far it is not waited
        for: what is recorded next gives the workflow back."""
        while step.until is not None and not self._moved.is_set():
            left = step.until - self._world.now()
            if not timedelta(0) < left <= self._world.linger:
                return
            try:
                async with asyncio.timeout(left.total_seconds()):
                    await self._moved.wait()
            except TimeoutError:
                continue  # Loops and clocks do not quite agree on when.

    async def _record(self, step: Step, decide: Decide) -> Appended:
        """Record what is decided, of the workflow as it stands by now."""
        since = step.request.time if isinstance(step, Ask) else self._world.now()
        patience, is_stale = PATIENCE, False
        while True:
            try:
                if is_stale or self._loaded is None:
                    self._loaded = await self._load(is_fresh=True)
                loaded, is_stale = self._loaded, True
                instance, events = self._decided(loaded, step, decide)
                decided = (instance, timed(events, since))
                return await self._world.logs.append(loaded, decided, claim=self.claim)
            except Aborted as error:
                if error.reason == "CLAIM_LOST":
                    raise
            except Unavailable as error:
                if is_newer(error):  # Who wrote that goes on.
                    raise
                log.warning("not recorded yet", extra={"error_code": error.reason})
                await asyncio.sleep(patience.total_seconds())
                patience = min(2 * patience, MOST_PATIENCE)

    def _decided(self, loaded: Loaded, step: Step, decide: Decide) -> Decided:
        at = self._at(loaded)
        return decide(at) if is_current(at, step) else reminded(at)

    def _is_wanted(self, loaded: Loaded) -> bool:
        at = self._at(loaded)
        return self._step is not None and is_current(at, self._step) and not at.is_to_stop

    def _learn(self, loaded: Loaded) -> bool:
        """Whether it is news."""
        there = self._loaded
        is_new = there is None or loaded.instance.sequence > there.instance.sequence
        if is_new:
            self._loaded = loaded
        return is_new

    async def _load(self, *, is_fresh: bool = False) -> Loaded:
        name = (self.claim.tenant, self.claim.stream_id)
        return await self._world.logs.load(*name, is_fresh=is_fresh)

    def _at(self, loaded: Loaded) -> Standing:
        return Standing(loaded.definition, loaded.instance, self._world.now())


def _can_be_cut_short(step: Step) -> TypeGuard[Run | Ask]:
    """Whether a step may be long, and is cancelled when nobody wants it any more."""
    is_run = isinstance(step, Run) and step.action.kind is not Kind.WORKFLOW
    return is_run or isinstance(step, Ask)


def _cut_short(step: Run | Ask, until: datetime | None, at: Standing) -> Decided:
    """What is decided when a step was cut short: because the state's time is over, which it is even
    if a clock says that it is not quite, unless the workflow is canceled."""
    if until is not None and at.instance.cancel is None:
        at = replace(at, now=max(at.now, until))
    return stopped(at, step) if isinstance(step, Run) else reminded(at)
