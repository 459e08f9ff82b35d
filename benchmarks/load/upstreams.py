"""One model three ways: in our process, behind its own HTTP server, and by us over that server.

The ways take turns; the callers of a turn all ask at once, each the same again and again.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, TypeAlias

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from benchmarks.load.figures import summary_ms
from benchmarks.load.http import connect, request
from benchmarks.load.job import JSON, Job, Report

TOKENS: Final = 48
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
    """`job.count` turns of `job.callers`: `options.here` and `options.through` are gRPC ports,
    `job.path` is the server's address."""
    errors: Counter[str] = Counter()
    began = perf_counter()
    async with (
        grpc.aio.insecure_channel(str(job.options["here"])) as here,
        grpc.aio.insecure_channel(str(job.options["through"])) as through,
    ):
        ways: dict[str, Ask] = {
            "here": _by_grpc(here),
            "http": _by_http(job.path),
            "through": _by_grpc(through),
        }
        seen = {way: _Seen() for way in ways}
        for turn in range(-1, job.count):  # The first one fills the caches.
            for way, ask in ways.items():
                await _turn(ask, job.callers, seen[way] if turn >= 0 else _Seen(), errors)
    figures: dict[str, JSON] = {
        way: {**summary_ms(each.first), "tokens_per_second": each.tokens / each.seconds}
        for way, each in seen.items()
    }
    return {
        "count": job.count * job.callers,
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


def _by_grpc(channel: grpc.aio.Channel) -> Ask:
    stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(channel)

    async def ask(caller: int) -> tuple[float, int]:
        asked = pb.GenerateRequest(
            messages=[{"role": "user", "content": _prompt(caller)}],
            sampling={"temperature": 0, "top_p": 0.9, "max_tokens": TOKENS},
        )
        began, first, tokens = perf_counter(), 0.0, 0
        async for piece in stub.StreamGenerate(asked, timeout=_TIMEOUT):
            first = first or perf_counter()
            tokens = piece.usage.completion_tokens
        return first - began, tokens

    return ask


def _by_http(address: str) -> Ask:
    async def ask(caller: int) -> tuple[float, int]:
        body: dict[str, JSON] = {
            "messages": [{"role": "user", "content": _prompt(caller)}],
            "temperature": 0,
            "top_p": 0.9,
            "max_tokens": TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
            # As our engine says it, too.
            "dry_multiplier": 0.8,
            "dry_allowed_length": 4,
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
