"""What a worker does with the claims that it has."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from services.chassis.errors import Unavailable
from services.chassis.eventlog.port import Claim
from services.workflow.effects import Effects
from services.workflow.execution import World
from services.workflow.ports import WorkflowLog
from services.workflow.worker import Sizes, working

CLAIM = Claim("default", "wf_1", "worker_1", 1)
SOON = timedelta(milliseconds=5)
WORLD = World(
    cast("WorkflowLog", None), cast("Effects", None), lambda: datetime.now(UTC), timedelta(0)
)


class Desk:
    """One where this worker has a claim that it knows nothing of."""

    owner = "worker_1"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.held = [CLAIM]
        self.renewed = 0
        self.released = asyncio.Event()

    async def find(self, limit: int) -> Sequence[Claim]:
        """Nothing is due."""
        return ()

    async def renew(self) -> Sequence[Claim]:
        """What it has."""
        self.renewed += 1
        return list(self.held)

    async def release(self, claims: Sequence[Claim]) -> None:
        """The store may be away."""
        if claims and self.failures:
            self.failures -= 1
            raise Unavailable("EVENT_STORE_UNAVAILABLE", "it is away")
        self.held = [each for each in self.held if each not in claims]
        if claims:
            self.released.set()

    async def wake(self, claim: Claim) -> None:
        """Nobody is woken."""

    async def woken(self) -> Sequence[tuple[str, str]]:
        """Never."""
        await asyncio.Event().wait()
        return ()

    async def due_in(self) -> timedelta | None:
        """Nothing waits."""
        return None


async def test_what_a_worker_has_and_does_nothing_for_is_given_back() -> None:
    desk = Desk()
    async with asyncio.timeout(5), working(desk, WORLD, Sizes(8, SOON, SOON)):
        await desk.released.wait()

    assert desk.held == []
    assert desk.renewed == 2, "it may have been about to be told of it"


async def test_it_is_given_back_even_if_the_store_is_away_when_it_is_tried() -> None:
    desk = Desk(failures=3)
    async with asyncio.timeout(5), working(desk, WORLD, Sizes(8, SOON, SOON)):
        await desk.released.wait()

    assert desk.held == []
