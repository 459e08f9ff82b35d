"""One batch in a worker's hands: its items run as seats are free, and what comes of them is
recorded in the order in which they end."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from services.chassis.concerning import concerning
from services.chassis.context import current, resumed
from services.chassis.errors import Aborted, ResourceExhausted, ServiceError, Unavailable
from services.chassis.eventlog.port import Claim
from services.inference.batching.ports import Loaded
from services.inference.batching.turn import Turn, World, failed
from services.inference.domain import batch as bt

log = logging.getLogger(__name__)

MOST: Final = 32
"""Events in one append: packing them takes the loop, which is others' as well."""
PATIENCE_SECONDS: Final = 0.1
"""Until a store that takes nothing is asked again, at first; each time twice as long."""
MOST_PATIENCE_SECONDS: Final = 2.0


class Execution:
    """Goes on until the batch has ended, or its claim is lost."""

    def __init__(self, world: World, claim: Claim) -> None:
        self.claim = claim
        self._world = world
        self._cause: bt.Ended | None = None
        self._turns: dict[asyncio.Task[None], Turn] = {}
        self._feeder: asyncio.Task[None] | None = None
        self._events: list[bt.Event] = []
        self._has_news = asyncio.Event()
        self._is_begun = False

    def stop(self, state: bt.State, reason: str = "") -> None:
        """End it before its items have."""
        if self._cause is not None:
            return
        self._cause = bt.Ended(self._world.now(), state, reason)
        if self._feeder is not None:
            self._feeder.cancel()
        for turn in self._turns.values():
            turn.stop(bt.LEFT[state])
        self._has_news.set()

    async def run(self) -> None:
        """Run what has not ended.

        Raises:
            Aborted: `CLAIM_LOST`; somebody else has it.
            NotFound, Internal: its log cannot be read.
        """
        loaded = await self._world.log.load(self.claim.tenant, self.claim.stream_id)
        spec = loaded.batch.spec
        current.set(resumed(spec.tenant, spec.owner, spec.trace_id))
        concerning.set({"batch_id": spec.batch_id})
        try:
            async with asyncio.TaskGroup() as group:
                await self._run_all(group, loaded)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _run_all(self, group: asyncio.TaskGroup, loaded: Loaded) -> None:
        expiring = group.create_task(self._expire(loaded.batch.spec))
        self._feeder = group.create_task(self._feed(group, loaded))
        if self._cause is not None:
            self._feeder.cancel()
        await self._record(loaded)
        expiring.cancel()
        self._feeder.cancel()

    async def _expire(self, spec: bt.Spec) -> None:
        left = spec.deadline - self._world.now()
        await asyncio.sleep(max(0.0, left.total_seconds()))
        self.stop(bt.State.EXPIRED)

    async def _feed(self, group: asyncio.TaskGroup, loaded: Loaded) -> None:
        """Begin each item that has not ended as soon as there is a seat for it."""
        batch = loaded.batch
        for index, item in enumerate(loaded.items):
            if index in batch.ended:
                continue
            await asyncio.sleep(0)  # Where many seats are free, the loop is still others' as well.
            try:
                seat = await self._world.gate.seat(batch.spec.tenant, item.request.model)
            except ServiceError as error:
                self._begin(batch)
                self._tell(bt.ItemEnded(self._world.now(), failed(index, error)))
                continue
            self._begin(batch)
            turn = Turn(self._world, batch.spec, item, index, seat)
            task = group.create_task(self._run(turn))
            self._turns[task] = turn
            task.add_done_callback(self._over)

    def _begin(self, batch: bt.Batch) -> None:
        if batch.state is bt.State.PENDING and not self._is_begun:
            self._is_begun = True
            self._tell(bt.Started(self._world.now()))

    async def _run(self, turn: Turn) -> None:
        outcome = await turn.run()
        self._tell(bt.ItemEnded(self._world.now(), outcome))

    def _over(self, task: asyncio.Task[None]) -> None:
        self._turns.pop(task).close()
        self._has_news.set()

    def _tell(self, event: bt.Event) -> None:
        self._events.append(event)
        self._has_news.set()

    async def _record(self, loaded: Loaded) -> None:
        """Append what has happened, as much as has gathered meanwhile, until all is over."""
        self._has_news.set()  # Its last item may have ended in other hands.
        while not loaded.batch.is_closed:
            await self._has_news.wait()
            self._has_news.clear()
            events, self._events = self._events[:MOST], self._events[MOST:]
            if self._events:
                self._has_news.set()
            events += self._end(loaded.batch, events)
            if events:
                loaded = await self._append(loaded, events)

    def _end(self, batch: bt.Batch, events: Sequence[bt.Event]) -> Sequence[bt.Event]:
        """That all is over after these, if it is."""
        new = [each.outcome.state for each in events if isinstance(each, bt.ItemEnded)]
        if len(new) < batch.left:
            is_quiet = not self._turns and not self._events
            return [self._cause] if self._cause is not None and is_quiet else []
        states = {*new, *batch.ended.values()}
        for state, left in bt.LEFT.items():
            if left in states:
                return [self._cause or bt.Ended(self._world.now(), state)]
        return [bt.Ended(self._world.now(), bt.State.COMPLETED)]

    async def _append(self, loaded: Loaded, events: Sequence[bt.Event]) -> Loaded:
        """Append, however long the store is away or full: what has been generated is not lost."""
        patience = PATIENCE_SECONDS
        while True:
            try:
                return await self._world.log.append(loaded, events, claim=self.claim)
            except (ResourceExhausted, Unavailable) as error:
                log.warning("not recorded yet", extra={"error_code": error.reason})
            except Aborted as error:
                if error.reason != "SEQUENCE_CONFLICT":
                    raise
                loaded = await self._world.log.load(self.claim.tenant, self.claim.stream_id)
                events = _missing(loaded.batch, events)  # It was written, and that was not heard.
                if not events:
                    return loaded
                continue
            await asyncio.sleep(patience)
            patience = min(2 * patience, MOST_PATIENCE_SECONDS)


def _missing(batch: bt.Batch, events: Sequence[bt.Event]) -> Sequence[bt.Event]:
    """Those that its log does not have."""

    def is_there(event: bt.Event) -> bool:
        if isinstance(event, bt.Started):
            return batch.state is not bt.State.PENDING
        if isinstance(event, bt.ItemEnded):
            return event.outcome.index in batch.ended
        return batch.is_closed

    return [event for event in events if not is_there(event)]
