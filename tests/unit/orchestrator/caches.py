"""A cache in front of models that say what they are told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.errors import Unavailable
from services.chassis.hotstore.memory import MemoryHotStore
from services.orchestrator.adapters.answers import Answers, Bounds
from services.orchestrator.adapters.cached_models import CachedModels
from services.orchestrator.domain.caching import control
from services.orchestrator.domain.events import Message, Sampling
from services.orchestrator.ports import Generation, Models, Piece
from tests.conftest import FakeClock
from tests.unit.orchestrator.fakes import FakeModels, Line

GREEDY: Final = Sampling(temperature=0.0)
ASKED: Final = Generation(
    "fake", (Message("user", "Hello"),), GREEDY, 64, None, tenant="default", cache=control("")
)
BOUNDS: Final = Bounds(near_bytes=1024 * 1024, most_bytes=16 * 1024, ttl=timedelta(hours=1))
GONE: Final = Unavailable("ENGINE_FAILED", "gone")


@dataclass
class Cache:
    """A cache, and what is behind it."""

    models: CachedModels
    behind: FakeModels
    answers: Answers
    clock: FakeClock

    @property
    def asked(self) -> int:
        """How often a model was asked."""
        return len(self.behind.asked)


@asynccontextmanager
async def cache(
    *turns: Sequence[Line], hot: MemoryHotStore | None = None, bounds: Bounds = BOUNDS
) -> AsyncIterator[Cache]:
    behind = FakeModels(turns or (("Hel", "lo"),))
    clock = FakeClock()
    answers = Answers(hot or MemoryHotStore(now=lambda: clock().timestamp()), bounds, clock)
    async with asyncio.timeout(600), asyncio.TaskGroup() as group:
        yield Cache(CachedModels(behind, answers, group.create_task), behind, answers, clock)


async def heard(
    models: Models, asked: Generation = ASKED, *, is_good: bool = True, timeout: float = 30
) -> list[Piece]:
    """A turn heard to its end, and kept if it is good."""
    async with aclosing(models.generate(asked, timeout=timeout)) as pieces:
        said = [piece async for piece in pieces]
    if is_good and (keep := said[-1].keep) is not None:
        keep()
    return said


def text(said: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in said)


def is_free(said: Sequence[Piece]) -> bool:
    turn = said[-1].turn
    return turn is not None and turn.is_cached
