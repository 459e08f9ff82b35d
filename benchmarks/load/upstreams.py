"""One model three ways: in our process, behind its own HTTP server, and by us over that server.

The ways take turns, each behind each of the others as often; the callers of a turn all ask at
once, each the same again and again.
"""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias, cast

from runplane.inference.v1 import inference_pb2 as pb

from benchmarks.load import grpc_stream
from benchmarks.load.figures import summary_ms
from benchmarks.load.http import connect, request
from benchmarks.load.job import JSON, Job, Report

TOKENS: Final = 48
_METHOD: Final = "/runplane.inference.v1.InferenceService/StreamGenerate"
_TIMEOUT: Final = 120
_SAID: Final = b'"content":"'
_COUNTED: Final = re.compile(rb'"completion_tokens":(\d+)')


class Answer(NamedTuple):
    """What a caller saw."""

    first: float
    """Seconds to the first text."""
    rest: float
    """Seconds from it to the end."""
    tokens: int


Ask: TypeAlias = Callable[[int], Awaitable[Answer]]
"""Asks as one of the callers."""


@dataclass(slots=True)
class _Seen:
    first: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    later_tokens: int = 0
    """Without the first one of each stream."""
    rest: float = 0.0

    def figures(self) -> dict[str, JSON]:
        """By name."""
        return {
            **summary_ms(self.first),
            "tokens_per_second": self.tokens / self.seconds,
            "stream_tokens_per_second": self.later_tokens / self.rest,
        }


async def run(job: Job) -> Report:
    """`job.count` turns of `job.callers`: `options.here` and `options.through` are gRPC ports, the
    second of which need not be; `job.path` is the server's address, and `options.tokens` how many
    are asked for."""
    tokens = int(cast("int", job.options.get("tokens", TOKENS)))
    errors: Counter[str] = Counter()
    began = perf_counter()
    async with AsyncExitStack() as stack:
        ways: dict[str, Ask] = {"http": _by_http(job.path, tokens)}
        for way in ("here", "through"):
            if (port := job.options.get(way)) is not None:
                connection = await grpc_stream.connect(str(port))
                stack.callback(connection.close)
                ways[way] = _by_grpc(connection, tokens)
        seen = {way: _Seen() for way in ways}
        orders = itertools.cycle(itertools.permutations(ways))
        # The first turn fills the caches.
        for turn, order in zip(range(-1, job.count), orders, strict=False):
            for way in order:
                await _turn(ways[way], job.callers, seen[way] if turn >= 0 else _Seen(), errors)
    figures: dict[str, JSON] = {way: each.figures() for way, each in seen.items()}
    return {
        "count": job.count * job.callers,
        "turns": job.count,
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        **figures,
    }


async def _turn(ask: Ask, callers: int, seen: _Seen, errors: Counter[str]) -> None:
    began = perf_counter()
    answers = await asyncio.gather(*map(ask, range(callers)), return_exceptions=True)
    seen.seconds += perf_counter() - began
    for answer in answers:
        if isinstance(answer, BaseException):
            errors[f"{type(answer).__name__}: {str(answer)[:120]}"] += 1
        else:
            seen.first.append(answer.first)
            seen.tokens += answer.tokens
            seen.later_tokens += answer.tokens - 1
            seen.rest += answer.rest


def _prompt(caller: int) -> str:
    return f"Write story number {caller + 1} about the sea. Do not stop."


def _by_grpc(connection: grpc_stream.Connection, limit: int) -> Ask:
    async def ask(caller: int) -> Answer:
        asked = pb.GenerateRequest(
            messages=[{"role": "user", "content": _prompt(caller)}],
            sampling={"temperature": 0, "top_p": 0.9, "max_tokens": limit},
        )
        answer = connection.begin(_METHOD, asked.SerializeToString())
        async with asyncio.timeout(_TIMEOUT):
            last = pb.StreamGenerateResponse.FromString(await answer.last())
            end = perf_counter()
        if not last.usage.completion_tokens:
            raise EOFError("the stream ended before the generation did")
        first = answer.first
        return Answer(first - answer.began, end - first, last.usage.completion_tokens)

    return ask


def _by_http(address: str, limit: int) -> Ask:
    async def ask(caller: int) -> Answer:
        body: dict[str, JSON] = {
            "messages": [{"role": "user", "content": _prompt(caller)}],
            "temperature": 0,
            "top_p": 0.9,
            "max_tokens": limit,
            "stream": True,
            "stream_options": {"include_usage": True},
            # As our engine says it, too.
            "dry_multiplier": 0.8,
            "dry_allowed_length": 4,
            "dry_sequence_breakers": ["\n"],
        }
        connection = await connect(address)
        answer = connection.begin(request(address, "/v1/chat/completions", body), (_SAID,))
        async with asyncio.timeout(_TIMEOUT):
            await answer.seen(1)
            await answer.complete()
            end = perf_counter()
        connection.close()
        counted = _COUNTED.findall(answer.content)
        if not counted:
            raise EOFError(answer.content[-300:].decode(errors="replace"))
        first = answer.at[0]
        return Answer(first - answer.began, end - first, int(counted[-1]))

    return ask
