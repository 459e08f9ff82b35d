"""Time to first token of those who wait for an answer, without and with a batch beside them.

The two take turns: a batch of more items than can end is started before the second, and canceled
behind it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import Final

import grpc
from runplane.inference.v1 import batches_pb2, batches_pb2_grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.type.v1 import content_pb2, usage_pb2

from benchmarks.load.figures import summary_ms
from benchmarks.load.job import Job, Report

ITEMS: Final = 1_000
TURNS: Final = 2
_TIMEOUT: Final = 60
_SETTLED_SECONDS: Final = 1.0


async def run(job: Job) -> Report:
    """`job.count` answers of each kind, by `job.callers` at a time."""
    async with grpc.aio.insecure_channel(job.target) as channel:
        load = _Load(channel, job)
        began = perf_counter()
        for turn in range(TURNS):
            await load.answers(load.alone, job.count // TURNS)
            await load.beside_a_batch(job.count // TURNS, turn)
        took = perf_counter() - began
    return {
        "count": len(load.alone) + len(load.beside),
        "seconds": took,
        "errors": dict(load.errors),
        "alone": summary_ms(load.alone),
        "beside": summary_ms(load.beside),
        "batch_tokens_s": load.tokens / max(load.batch_seconds, 1e-9),
        "failed_items": load.failed,
    }


class _Load:
    def __init__(self, channel: grpc.aio.Channel, job: Job) -> None:
        self._inference = pb_grpc.InferenceServiceStub(channel)
        self._batches = batches_pb2_grpc.BatchServiceStub(channel)
        self._job = job
        self.alone: list[float] = []
        self.beside: list[float] = []
        self.errors: Counter[str] = Counter()
        self.tokens = self.failed = 0
        self.batch_seconds = 0.0

    async def answers(self, seconds: list[float], count: int) -> None:
        """So many answers."""
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                try:
                    seconds.append(await self._answer())
                except grpc.aio.AioRpcError as error:
                    self.errors[f"{error.code().name}: {str(error.details())[:80]}"] += 1

        await _all([caller() for _ in range(self._job.callers)])

    async def beside_a_batch(self, count: int, turn: int) -> None:
        """The same, while a batch runs."""
        options = self._job.options
        request = batches_pb2.GenerateBatchRequest(
            items=[
                batches_pb2.BatchItemRequest(messages=[_said(f"{options['item']} {turn}/{each}")])
                for each in range(ITEMS)
            ],
            sampling=usage_pb2.Sampling(max_tokens=int(str(options["item_tokens"]))),
        )
        batch = await self._batches.GenerateBatch(request, timeout=_TIMEOUT)
        await asyncio.sleep(_SETTLED_SECONDS)
        began = perf_counter()
        await self.answers(self.beside, count)
        self.batch_seconds += perf_counter() - began + _SETTLED_SECONDS
        named = batches_pb2.CancelBatchRequest(batch_id=batch.batch_id)
        ended = await self._batches.CancelBatch(named, timeout=_TIMEOUT)
        self.tokens += ended.usage.completion_tokens
        self.failed += ended.counts.failed

    async def _answer(self) -> float:
        options = self._job.options
        request = pb.GenerateRequest(
            messages=[_said(str(options["query"]))],
            sampling=usage_pb2.Sampling(max_tokens=int(str(options["tokens"])), temperature=0),
        )
        began, first = perf_counter(), 0.0
        async for _ in self._inference.StreamGenerate(request, timeout=_TIMEOUT):
            first = first or perf_counter()
        return first - began


def _said(text: str) -> content_pb2.Message:
    return content_pb2.Message(role="user", content=text)


async def _all(work: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*work)
