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
from typing import Final, TypeAlias, cast

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

Ask: TypeAlias = Callable[[int], Awaitable[tuple[float, int]]]
"""Asks as one of the callers; seconds to the first text, and tokens."""


@dataclass(slots=True)
class _Seen:
    first: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


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
    figures: dict[str, JSON] = {
        way: {**summary_ms(each.first), "tokens_per_second": each.tokens / each.seconds}
        for way, each in seen.items()
    }
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
            seen.first.append(answer[0])
            seen.tokens += answer[1]


def _prompt(caller: int) -> str:
    return f"Write story number {caller + 1} about the sea. Do not stop."


def _by_grpc(connection: grpc_stream.Connection, limit: int) -> Ask:
    async def ask(caller: int) -> tuple[float, int]:
        asked = pb.GenerateRequest(
            messages=[{"role": "user", "content": _prompt(caller)}],
            sampling={"temperature": 0, "top_p": 0.9, "max_tokens": limit},
        )
        answer = connection.begin(_METHOD, asked.SerializeToString())
        async with asyncio.timeout(_TIMEOUT):
            last = pb.StreamGenerateResponse.FromString(await answer.last())
        if not last.usage.completion_tokens:
            raise EOFError("the stream ended before the generation did")
        return answer.first - answer.began, last.usage.completion_tokens

    return ask


def _by_http(address: str, limit: int) -> Ask:
    async def ask(caller: int) -> tuple[float, int]:
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
        connection.close()
        counted = _COUNTED.findall(answer.content)
        if not counted:
            raise EOFError(answer.content[-300:].decode(errors="replace"))
        return answer.at[0] - answer.began, int(counted[-1])

    return ask
