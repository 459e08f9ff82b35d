"""Texts as vectors, by an upstream's `/embeddings`."""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.wire import Wire

MAX_DIMENSIONS: Final = 65_536


async def embedded(
    wire: Wire, upstream: Upstream, embedding: Embedding, queue_ms: float
) -> Embedded:
    """A vector of length 1 for each text, in their order.

    Raises:
        RefusedError: the upstream refuses it.
        Unavailable: `ENGINE_FAILED`; it does not answer with so many vectors.
    """
    asked: dict[str, JSON] = {
        "model": upstream.model,
        "input": list(embedding.inputs),
        "encoding_format": "float",
    }
    answer = await wire.ask("POST", "/embeddings", asked)
    vectors = await asyncio.to_thread(_vectors, answer.get("data"), len(embedding.inputs))
    used = answer.get("usage")
    counted = used.get("prompt_tokens") if isinstance(used, Mapping) else None
    prompt = counted if isinstance(counted, int) else sum(len(e.encode()) for e in embedding.inputs)
    return Embedded(vectors, prompt, queue_ms)


def _vectors(data: JSON, count: int) -> tuple[tuple[float, ...], ...]:
    if not isinstance(data, list) or len(data) != count:
        raise failures.engine_failed(f"the upstream did not answer with {count} vectors")
    found: dict[int, tuple[float, ...]] = {}
    for place, each in enumerate(data):
        if not isinstance(each, Mapping):
            raise failures.engine_failed("the upstream sent a vector that is none")
        index = each.get("index", place)
        found[index if isinstance(index, int) else place] = _unit(each.get("embedding"))
    if sorted(found) != list(range(count)):
        raise failures.engine_failed("the upstream numbers its vectors in a way of its own")
    return tuple(found[index] for index in range(count))


def _unit(values: JSON) -> tuple[float, ...]:
    numbers = values if isinstance(values, list) and all(map(_is_number, values)) else []
    length = math.hypot(*numbers)
    if not numbers or len(numbers) > MAX_DIMENSIONS or not 0 < length < math.inf:
        raise failures.engine_failed("the upstream sent a vector without a direction")
    return tuple(each / length for each in numbers)


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
