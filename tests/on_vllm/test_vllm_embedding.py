"""vLLM as an engine for vectors."""

import math

import pytest

from services.chassis.errors import InvalidArgument
from services.inference.domain.embedding import Embedding
from services.inference.domain.model import Capability
from services.inference.engines.vllm.embedding import VllmEmbeddingEngine
from tests.contract.inference.asks import answer
from tests.on_vllm.conftest import asking

pytestmark = pytest.mark.asyncio(loop_scope="session")


def likeness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


async def test_what_means_the_same_is_near(embedder: VllmEmbeddingEngine) -> None:
    texts = ("The sea is calm.", "The ocean is quiet.", "Pay the invoice by Friday, please!")

    embedded = await embedder.embed(Embedding("vectors", texts))

    sea, ocean, invoice = embedded.vectors
    assert likeness(sea, ocean) > likeness(sea, invoice)
    assert embedded.prompt_tokens == 5 + 5 + 8
    assert (embedder.active, embedder.waiting) == (0, 0)


async def test_texts_keep_their_order_however_many(embedder: VllmEmbeddingEngine) -> None:
    texts = tuple(f"{number} " * (40 - number) for number in range(1, 40))

    together = await embedder.embed(Embedding("vectors", texts))
    alone = await embedder.embed(Embedding("vectors", texts[7:8]))

    assert likeness(together.vectors[7], alone.vectors[0]) > 0.99


async def test_it_does_nothing_else(embedder: VllmEmbeddingEngine) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await answer(embedder, asking("Hello", "vectors"))

    assert caught.value.reason == "MODEL_CAPABILITY_MISSING"
    assert [each.capabilities for each in embedder.models()] == [frozenset({Capability.EMBED})]
