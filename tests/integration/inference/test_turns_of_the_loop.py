"""Work that many wait behind is done in parts: between two of them the loop is everybody's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.inference.domain.embedding import Embedding
from services.inference.domain.request import Priority
from services.inference.engines.echo import engine as echo
from tests.integration.inference.batches import serving


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.now = 0

    async def count(self) -> None:
        """One after the other, until cancelled."""
        while True:
            await asyncio.sleep(0)
            self.now += 1


@asynccontextmanager
async def counted() -> AsyncIterator[Turns]:
    turns = Turns()
    counting = asyncio.ensure_future(turns.count())
    try:
        yield turns
    finally:
        counting.cancel()


async def test_items_of_a_batch_begin_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    plan = echo.plan
    async with serving(slots=64) as client, counted() as turns, asyncio.timeout(20):
        monkeypatch.setattr(echo, "plan", lambda *asked: (begun.append(turns.now), plan(*asked))[1])
        batch = await client.started(*["hi"] * 60)
        ended = await client.ended(batch.batch_id)

    assert ended.counts.completed == len(begun) == 60
    assert max(Counter(begun).values()) <= 2


async def test_vectors_of_many_texts_are_made_one_by_one() -> None:
    asked = Embedding("echo", ("some words",) * 50, Priority.INTERACTIVE)
    async with counted() as turns, asyncio.timeout(20):
        before = turns.now
        await echo.EchoEngine().embed(asked)

        assert turns.now - before >= 49
