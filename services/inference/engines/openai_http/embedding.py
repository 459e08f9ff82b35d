"""Texts as vectors, by an upstream's `/embeddings`."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Final

from services.inference.domain.embedding import Embedded, Embedding, Vector, unit
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.openai_http import tokens
from services.inference.engines.openai_http.answer import count
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.wire import Wire

MAX_DIMENSIONS: Final = 65_536


async def embedded(wire: Wire, upstream: Upstream, embedding: Embedding, window: int) -> Embedded:
    """A vector of length 1 for each text, in their order.

    Raises:
        RefusedError: the upstream refuses them.
        InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; one has more tokens than the window.
        Unavailable: `ENGINE_FAILED`; it does not answer with so many vectors.
    """
    for index, text in enumerate(embedding.inputs):
        await _check(wire, upstream, (f"inputs[{index}]", text), window)
    vectors: list[Vector] = []
    prompt_tokens = 0
    at_once = upstream.dialect.texts_at_once
    for start in range(0, len(embedding.inputs), at_once):
        texts = embedding.inputs[start : start + at_once]
        found, used = await _asked(wire, upstream, texts)
        vectors += found
        prompt_tokens += used
    return Embedded(tuple(vectors), prompt_tokens)


async def _check(wire: Wire, upstream: Upstream, named: tuple[str, str], window: int) -> None:
    """Refuse a text that is longer than the window, where that can be told."""
    field, text = named
    if tokens.at_most_of(text) <= window or upstream.dialect.extra is None:
        return
    size = await tokens.text_tokens(wire, upstream, text)
    if size > window:
        raise failures.text_exceeds(field, size, window)


async def _asked(
    wire: Wire, upstream: Upstream, texts: Sequence[str]
) -> tuple[Sequence[Vector], int]:
    asked: dict[str, JSON] = {
        "model": upstream.model,
        "input": list(texts),
        "encoding_format": "float",
    }
    answer = await wire.ask("POST", "/embeddings", asked)
    vectors = await asyncio.to_thread(_vectors, answer.get("data"), len(texts))
    used = answer.get("usage")
    counted = count(used, "prompt_tokens") if isinstance(used, Mapping) else None
    bound = sum(len(each.encode()) for each in texts)
    return vectors, bound if counted is None else counted


def _vectors(data: JSON, wanted: int) -> tuple[Vector, ...]:
    if not isinstance(data, list) or len(data) != wanted:
        raise failures.engine_failed(f"the upstream did not answer with {wanted} vectors")
    found: dict[int, Vector] = {}
    for place, each in enumerate(data):
        if not isinstance(each, Mapping):
            raise failures.engine_failed("the upstream sent a vector that is none")
        index = each.get("index", place)
        found[index if isinstance(index, int) else place] = _unit(each.get("embedding"))
    if sorted(found) != list(range(wanted)):
        raise failures.engine_failed("the upstream numbers its vectors in a way of its own")
    return tuple(found[index] for index in range(wanted))


def _unit(values: JSON) -> Vector:
    numbers = _numbers(values) if isinstance(values, list) else []
    length = math.hypot(*numbers)
    if not 0 < length < math.inf:
        raise failures.engine_failed("the upstream sent a vector without a direction")
    return unit(numbers)


def _numbers(values: list[JSON]) -> list[float]:
    """The numbers that they are; none where one is no number that can be, or they are too many."""
    if len(values) > MAX_DIMENSIONS or not all(map(_is_number, values)):
        return []
    try:
        return [float(value) for value in values]  # type: ignore[arg-type] # They are numbers.
    except OverflowError:
        return []


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
