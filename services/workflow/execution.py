"""One workflow in a worker's hands: steps are done and recorded until there is nothing to do."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.chassis.context import current, resumed
from services.chassis.errors import Aborted, Unavailable
from services.chassis.eventlog.port import Claim
from services.workflow.domain.advance import Decided
from services.workflow.domain.decide import reminded
from services.workflow.domain.instance import Standing
from services.workflow.domain.steps import (
    Ask,
    Over,
    Rest,
    Run,
    Step,
    Stop,
    is_current,
    is_to_stop,
    next_step,
)
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


class Execution:
    """Goes on until the workflow rests or is over, or its claim is lost."""

    def __init__(self, world: World, claim: Claim, loaded: Loaded | None = None) -> None:
        self.claim = claim
        self.next: Appended | None = None
        """What it was moved to when this had given it back, and had not ended yet."""
        self._world = world
        self._loaded = loaded
        self._scope: asyncio.Timeout | None = None
        self._moved = asyncio.Event()

    def move(self, loaded: Loaded) -> None:
        """Somebody else has recorded something: an action that is not wanted any more stops."""
        self._loaded = loaded
        self._moved.set()
        if self._scope is not None and is_to_stop(self._at(loaded)):
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def look(self) -> None:
        """The same, where it is not known whether something was recorded."""
        loaded = await self._load(is_fresh=True)
        if self._loaded is None or loaded.instance.sequence > self._loaded.instance.sequence:
            self.move(loaded)

    async def run(self) -> None:
        """Do what is to be done.

        Raises:
            Aborted: `CLAIM_LOST`; somebody else has it.
            ServiceError: its log cannot be read.
        """
        loaded, is_held = self._loaded or await self._load(), True
        spec = loaded.instance.spec
        current.set(resumed(spec.tenant, spec.owner, spec.trace_id))
        while is_held:
            self._loaded = loaded
            at = self._at(loaded)
            step = next_step(at)
            appended = await self._record(loaded, step, await self._decision(at, step))
            loaded, is_held = appended.loaded, appended.claim is not None

    async def _decision(self, at: Standing, step: Step) -> Decide:
        """What is to be decided once the step is done, or was stopped."""
        self._moved.clear()
        if isinstance(step, Over):
            return reminded
        if isinstance(step, Rest):
            await self._rest(step)
            return reminded
        left = max(at.until - at.now, timedelta(0)).total_seconds() if at.until else None
        try:
            async with asyncio.timeout(left) as self._scope:
                return await self._world.effects.done(at, step)
        except TimeoutError:
            if isinstance(step, Run):
                return await self._world.effects.done(at, Stop(step.action, step.index))
            return reminded
        finally:
            self._scope = None

    async def _rest(self, step: Rest) -> None:
        """Wait for a moment, or for somebody to move it. Where the time is far it is not waited
        for: what is recorded next gives the workflow back."""
        if step.until is None:
            return
        left = step.until - self._world.now()
        if left > self._world.linger:
            return
        try:
            async with asyncio.timeout(max(left, timedelta(0)).total_seconds()):
                await self._moved.wait()
        except TimeoutError:
            pass

    async def _record(self, loaded: Loaded, step: Step, decide: Decide) -> Appended:
        """Record what is decided, of the workflow as it stands by now."""
        since = step.request.time if isinstance(step, Ask) else self._world.now()
        patience = PATIENCE
        while True:
            try:
                instance, events = self._decided(loaded, step, decide)
                decided = (instance, timed(events, since))
                return await self._world.logs.append(loaded, decided, claim=self.claim)
            except Aborted as error:
                if error.reason == "CLAIM_LOST":
                    raise
                loaded = await self._load()
            except Unavailable as error:
                log.warning("not recorded yet", extra={"error_code": error.reason})
                await asyncio.sleep(patience.total_seconds())
                patience = min(2 * patience, MOST_PATIENCE)

    def _decided(self, loaded: Loaded, step: Step, decide: Decide) -> Decided:
        at = self._at(loaded)
        return decide(at) if is_current(at, step) else reminded(at)

    async def _load(self, *, is_fresh: bool = False) -> Loaded:
        name = (self.claim.tenant, self.claim.stream_id)
        return await self._world.logs.load(*name, is_fresh=is_fresh)

    def _at(self, loaded: Loaded) -> Standing:
        return Standing(loaded.definition, loaded.instance, self._world.now())
