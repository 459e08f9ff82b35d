"""How likely labels are, by the log-probabilities that vLLM tells of a prompt's tokens.

A label is put behind the messages as the assistant's whole turn. What its tokens had for a chance,
the one that ends the turn included, is the label's: exact for labels of several tokens, and for
those that others begin with.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from services.inference.domain.generation import Usage
from services.inference.domain.request import JSON, Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import failures
from services.inference.engines.openai_http import tokens
from services.inference.engines.openai_http.body import conversation
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.wire import Wire

_AT_ONCE: Final = 8
_LEAST: Final = -1e4
"""For a token that cannot come: a logarithm that can be summed."""


class VllmScores:
    """Scores labels, some at a time."""

    def __init__(self, wire: Wire, upstream: Upstream) -> None:
        self._wire = wire
        self._upstream = upstream

    async def scored(self, scoring: Scoring, window: int, queue_ms: float) -> Scored:
        """See `Scores`."""
        request = Request(scoring.model, scoring.messages)
        start = await tokens.prompt_tokens(self._wire, self._upstream, request)
        if start >= window:
            raise failures.window_exceeded(start, window)
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(label: str) -> tuple[float, int]:
            async with places:
                return await _label(self._wire, self._upstream, request, label, start)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(label)) for label in scoring.labels]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        found = [task.result() for task in tasks]
        written = sum(end - start for _, end in found)
        return Scored(tuple(each for each, _ in found), Usage(start, written), queue_ms)


async def _label(
    wire: Wire, upstream: Upstream, request: Request, label: str, start: int
) -> tuple[float, int]:
    """A label's log-probability, and where its tokens end."""
    said = Request(request.model, request.messages, prefix=label)
    end = await tokens.prompt_tokens(wire, upstream, said)
    closed = Request(request.model, (*request.messages, Message("assistant", label)))
    asked: dict[str, JSON] = {
        **conversation(closed, upstream),
        "add_generation_prompt": False,
        "max_tokens": 1,
        "prompt_logprobs": 0,
    }
    chances = (await wire.ask("POST", "/chat/completions", asked)).get("prompt_logprobs")
    if not isinstance(chances, list) or len(chances) <= end or start >= end:
        raise failures.engine_failed("the upstream does not tell log-probabilities of prompts")
    return sum(_chance(each) for each in chances[start : end + 1]), end


def _chance(token: JSON) -> float:
    """Of the one token that stands at a place of the prompt."""
    chance = next(iter(token.values()), None) if isinstance(token, Mapping) else None
    found = chance.get("logprob") if isinstance(chance, Mapping) else None
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise failures.engine_failed("the upstream does not tell log-probabilities of prompts")
    return max(float(found), _LEAST)
