"""What a worker does with the claims that it has."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from services.chassis.errors import Unavailable
from services.chassis.eventlog.port import Claim
from services.workflow.effects import Effects
from services.workflow.execution import World
from services.workflow.ports import Loaded, WorkflowLog
from services.workflow.worker import Sizes, working

CLAIM = Claim("default", "wf_1", "worker_1", 1)
SOON = timedelta(milliseconds=5)


class Logs:
    """One that notes what is asked for, and has nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def load(self, tenant: str, workflow_id: str, *, is_fresh: bool = False) -> Loaded:
        """It is away."""
        assert (tenant, workflow_id) == (CLAIM.tenant, CLAIM.stream_id)
        self.asked.set()
        raise Unavailable("EVENT_STORE_UNAVAILABLE", "it is away")


class Desk:
    """One where this worker has a claim that it knows nothing of; so often it gives none back."""

    owner = "worker_1"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.held = [CLAIM]
        self.released = asyncio.Event()

    async def find(self, limit: int) -> Sequence[Claim]:
        """Nothing is due."""
        return ()

    async def renew(self) -> Sequence[Claim]:
        """What it has."""
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

    async def waiting(self) -> int:
        """Nothing waits."""
        return 0


def world(logs: Logs) -> World:
    """One of these logs, where nothing is done."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return World(cast("WorkflowLog", logs), cast("Effects", None), lambda: now, timedelta(0))


async def test_a_worker_goes_on_with_what_it_has_and_was_not_told_of() -> None:
    logs = Logs()
    async with asyncio.timeout(5), working(Desk(), world(logs), Sizes(8, SOON, SOON)):
        await logs.asked.wait()


async def test_what_was_given_up_is_given_back_even_if_the_store_is_away_for_a_while() -> None:
    desk = Desk(failures=3)
    async with asyncio.timeout(5), working(desk, world(Logs()), Sizes(8, SOON, SOON)):
        await desk.released.wait()

    assert (desk.held, desk.failures) == ([], 0)
