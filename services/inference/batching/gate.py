"""Which items of batches run now: as many as engines have slots for that nobody else needs.

It looks at what engines say of themselves, so that it works with any of them. Where an engine has
several slots, one stays free for whoever comes next; and for each request that waits for a slot, an
item gives its own up, the one that ran shortest.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import NotFound, ServiceError
from services.inference.ports import Catalogue, Engine, Serving

LOOK_SECONDS: Final = 0.025
"""Between two looks, while there is something to look at."""
UNKNOWN_SECONDS: Final = 10.0
"""How long a model may be unknown: a replica that was told of it may have taken the batch."""
MOST_UNKNOWN: Final = 1_000
"""Of which it is remembered since when, while there is nothing to do."""
QUIET_SECONDS: Final = 0.25
"""How long nobody must have waited before an item begins: who comes once comes again."""


class Seat:
    """The right of one item to run now, until it is left or taken back."""

    def __init__(self, serving: Serving, *, is_firm: bool) -> None:
        self.serving = serving
        self.is_firm = is_firm
        """Whether it is not taken back: its item has lost too much already."""
        self.is_taken_back = False
        self.is_new = True
        """Whether its engine may not have heard of it yet."""
        self._scope: asyncio.Timeout | None = None

    def bind(self, scope: asyncio.Timeout) -> None:
        """What to end when it is taken back."""
        self._scope = scope
        if self.is_taken_back:
            self.take_back()

    def take_back(self) -> None:
        """Have the item stop."""
        self.is_taken_back = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An item that wants a seat."""

    tenant: str
    model: str
    is_firm: bool
    given: asyncio.Future[Seat]


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A model that there is not, in the loop's time."""

    since: float
    seen: float
    """When it was asked for last."""


class Gate:
    """Hands out seats, in the order in which they are asked for."""

    def __init__(
        self,
        catalogue: Catalogue,
        most: int | None = None,
        *,
        unknown_seconds: float = UNKNOWN_SECONDS,
    ) -> None:
        """`most`: items at once on one engine, whatever slots it has."""
        self._catalogue = catalogue
        self._unknown_seconds = unknown_seconds
        self._unknown: dict[tuple[str, str], _Unknown] = {}  # By tenant and name.
        self._most = most
        self._seats: dict[int, list[Seat]] = {}  # By the identity of the engine.
        self._waiting: deque[_Waiting] = deque()
        self._crowded: dict[int, float] = {}  # When somebody waited last, by the engine.
        self._has_some = asyncio.Event()
        self.interrupted = 0
        """How many seats were taken back."""

    @property
    def running(self) -> int:
        """Items that have a seat."""
        return sum(map(len, self._seats.values()))

    async def seat(
        self, tenant: str, model: str, *, is_first: bool = False, is_firm: bool = False
    ) -> Seat:
        """Wait for a seat; `is_first` goes before those that wait already. The caller leaves it.

        Raises:
            NotFound: `MODEL_NOT_FOUND`; for a while by now.
        """
        given: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(tenant, model, is_firm, given)
        if is_first:
            self._waiting.appendleft(waiting)
        else:
            self._waiting.append(waiting)
        self._has_some.set()
        self._admit()
        try:
            return await given
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif given.done() and not given.cancelled() and given.exception() is None:
                self.leave(given.result())
            raise

    def leave(self, seat: Seat) -> None:
        """Give a seat back; the engine's slot is free by now."""
        seats = self._seats[id(seat.serving.engine)]
        seats.remove(seat)
        if not seats:
            del self._seats[id(seat.serving.engine)]
        self._admit()

    async def look_after(self) -> None:
        """Take seats back for those who wait, and hand out what is free, until cancelled."""
        while True:
            await self._has_some.wait()
            for engine, seats in self._seats.items():
                if seats[0].serving.engine.waiting:
                    self._crowded[engine] = asyncio.get_running_loop().time()
                    self.interrupted += _take_back(seats)
            self._admit()
            for seat in self._all():
                seat.is_new = False
            if not self._waiting and not self._seats:
                self._crowded.clear()
                if len(self._unknown) > MOST_UNKNOWN:
                    self._unknown.clear()
                self._has_some.clear()
            await asyncio.sleep(LOOK_SECONDS)

    def _all(self) -> Iterator[Seat]:
        for seats in self._seats.values():
            yield from seats

    def _admit(self) -> None:
        left: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not self._is_seated(waiting):
                left.append(waiting)
        self._waiting = left

    def _is_seated(self, waiting: _Waiting) -> bool:
        """Whether it need not wait any more."""
        if waiting.given.done():
            return True
        try:
            serving = self._catalogue.find(waiting.tenant, waiting.model)
            has_room = self._has_room(serving)
        except ServiceError as error:
            if not isinstance(error, NotFound) or not self._is_long_unknown(waiting):
                return False  # It is being loaded, or may be loaded again, or be heard of.
            waiting.given.set_exception(error)
            return True
        self._unknown.pop((waiting.tenant, waiting.model), None)
        if has_room:
            seat = Seat(serving, is_firm=waiting.is_firm)
            self._seats.setdefault(id(serving.engine), []).append(seat)
            waiting.given.set_result(seat)
        return has_room

    def _is_long_unknown(self, waiting: _Waiting) -> bool:
        name, now = (waiting.tenant, waiting.model), asyncio.get_running_loop().time()
        known = self._unknown.get(name)
        is_same = known is not None and now - known.seen < self._unknown_seconds
        since = known.since if known is not None and is_same else now
        self._unknown[name] = _Unknown(since, now)
        return now - since >= self._unknown_seconds

    def _has_room(self, serving: Serving) -> bool:
        engine, seats = serving.engine, self._seats.get(id(serving.engine), [])
        most = max(1, serving.model.slots - 1)
        if len(seats) >= min(most, self._most or most):
            return False
        crowded, now = self._crowded.get(id(engine)), asyncio.get_running_loop().time()
        if engine.waiting:
            self._crowded[id(engine)] = now
            return False
        if crowded is not None and now - crowded < QUIET_SECONDS:
            return False
        self._crowded.pop(id(engine), None)
        heard_of = engine.active + sum(seat.is_new for seat in seats)
        return max(heard_of, len(seats)) < most


def _take_back(seats: list[Seat]) -> int:
    """A seat for each request that waits, where it is not on its way already; how many that is."""
    engine: Engine = seats[0].serving.engine
    wanted = engine.waiting - sum(seat.is_taken_back for seat in seats)
    loose = [seat for seat in seats if not (seat.is_firm or seat.is_new or seat.is_taken_back)]
    chosen = loose[::-1][: max(wanted, 0)]  # The latest first.
    for seat in chosen:
        seat.take_back()
    return len(chosen)
