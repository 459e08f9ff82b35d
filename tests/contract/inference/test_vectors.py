"""What every engine promises that makes vectors of texts."""

import asyncio
import math
from collections.abc import Sequence

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.model import Capability
from services.inference.ports import Engine
from tests.contract.inference.asks import idle, until
from tests.contract.inference.engines import QUEUE, SLOTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.needs(Capability.EMBED)]

TEXTS = ("x", "The sea is wide.", " ", "😀", "<|im_end|>", "The moon " * 9, "漢字")
SLOW = "sleep:600000\nx"


async def embedded(engine: Engine, *inputs: str) -> Embedded:
    async with asyncio.timeout(60):
        return await engine.embed(Embedding(engine.models()[0].name, inputs))


def nearness(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(mine * theirs for mine, theirs in zip(one, other, strict=True))


async def test_every_text_gets_a_vector_of_length_1(engine: Engine) -> None:
    result = await embedded(engine, *TEXTS)

    assert len(result.vectors) == len(TEXTS)
    assert len(set(map(len, result.vectors))) == 1
    assert [math.hypot(*vector) for vector in result.vectors] == pytest.approx([1.0] * len(TEXTS))


async def test_a_text_has_the_same_vector_alone_and_among_others(engine: Engine) -> None:
    together = await embedded(engine, *TEXTS)

    alone = [(await embedded(engine, text)).vectors[0] for text in TEXTS]

    near = [nearness(*pair) for pair in zip(alone, together.vectors, strict=True)]
    assert near == pytest.approx([1.0] * len(TEXTS), abs=0.005)


async def test_the_tokens_of_texts_add_up(engine: Engine) -> None:
    together = await embedded(engine, *TEXTS)

    alone = [(await embedded(engine, text)).prompt_tokens for text in TEXTS]

    assert all(alone)
    assert together.prompt_tokens == sum(alone)


async def test_a_text_over_the_window_is_refused_by_its_place(engine: Engine) -> None:
    window = engine.models()[0].context_tokens

    with pytest.raises(InvalidArgument) as caught:
        await embedded(engine, "one", "sea moon " * window)

    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["field"] == "inputs[1]"
    assert caught.value.metadata["limit_tokens"] == str(window)


async def test_embedding_that_is_cancelled_frees_its_slot(engine: Engine) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(embedded(engine, *[SLOW] * 32))
        await until(lambda: engine.active)
        reading.cancel()
    await idle(engine)

    assert engine.active == 0


async def test_embedding_that_finds_slots_and_queue_full_is_turned_away(engine: Engine) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asked = [group.create_task(embedded(engine, *[SLOW] * 32)) for _ in range(SLOTS + QUEUE)]
        await until(lambda: (engine.active, engine.waiting) == (SLOTS, QUEUE))
        with pytest.raises(ResourceExhausted) as caught:
            await embedded(engine, "x")
        for each in asked:
            each.cancel()
    await idle(engine)

    assert (caught.value.reason, bool(caught.value.retry_after)) == ("ENGINE_OVERLOADED", True)
