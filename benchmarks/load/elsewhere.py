"""Tasks of one replica, as another one sees them: cancelled from there, or taken over.

When the engine is idle is measured as in `cancels`: by a generation that waits for its one slot.
"""

import asyncio
import os
from collections import Counter
from time import perf_counter
from typing import Final

import grpc
from runplane.inference.v1 import inference_pb2_grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from benchmarks.load.cancels import WAITER
from benchmarks.load.figures import summary_ms
from benchmarks.load.job import Job, Report

_TIMEOUT: Final = 60
_INTO_THE_SLEEP: Final = 0.03
_QUERY: Final = "sleep:60000"
_WORDS: Final = 2_000


async def cancel(job: Job) -> Report:
    """`job.count` times: start a task at `options.here`, cancel it at `options.there`."""
    answered: list[float] = []
    idle: list[float] = []
    errors: Counter[str] = Counter()
    began = perf_counter()
    async with (
        grpc.aio.insecure_channel(str(job.options["here"])) as here,
        grpc.aio.insecure_channel(str(job.options["there"])) as there,
        grpc.aio.insecure_channel(job.target) as channel,
    ):
        stubs = pb_grpc.OrchestratorServiceStub(here), pb_grpc.OrchestratorServiceStub(there)
        inference = inference_pb2_grpc.InferenceServiceStub(channel)
        for _ in range(job.count):
            try:
                took, queued = await _canceled(*stubs, inference)
            except (ValueError, grpc.aio.AioRpcError) as error:
                errors[f"{type(error).__name__}: {str(error)[:120]}"] += 1
                continue
            answered.append(took)
            idle.append(queued)
    return {
        "count": len(answered),
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        "answered": summary_ms(answered),
        "idle": summary_ms(idle),
    }


async def _canceled(
    here: "pb_grpc.OrchestratorServiceAsyncStub",
    there: "pb_grpc.OrchestratorServiceAsyncStub",
    inference: "inference_pb2_grpc.InferenceServiceAsyncStub",
) -> tuple[float, float]:
    request = pb.InvokeRequest(query=_QUERY, tool_choice="none")
    task = await here.CreateTask(request, timeout=_TIMEOUT)
    await asyncio.sleep(_INTO_THE_SLEEP)
    began = perf_counter()
    waiting = inference.Generate(WAITER, timeout=_TIMEOUT)
    canceled = await there.CancelTask(pb.CancelTaskRequest(task_id=task.task_id), timeout=_TIMEOUT)
    took = perf_counter() - began
    freed = await waiting
    if canceled.status != "canceled" or not freed.metrics.queue_ms:
        raise ValueError(f"{canceled.status}, or the engine was idle before the cancel")
    return took, freed.metrics.queue_ms / 1e3


async def take_over(job: Job) -> Report:
    """Send `options.signal` to `options.pid` in the middle of its tasks, `job.count` of them.

    Seconds from there until each task goes on, as the other replica shows it: its text comes every
    20 ms, so that the longest pause is the one that the signal made.
    """
    async with (
        grpc.aio.insecure_channel(str(job.options["here"])) as here,
        grpc.aio.insecure_channel(str(job.options["there"])) as there,
    ):
        first, second = (pb_grpc.OrchestratorServiceStub(each) for each in (here, there))
        request = pb.InvokeRequest(query=f"tokens:{_WORDS}", tool_choice="none")
        made = [await first.CreateTask(request, timeout=_TIMEOUT) for _ in range(job.count)]
        seen = [_Seen() for _ in made]
        async with asyncio.TaskGroup() as group:
            for task, each in zip(made, seen, strict=True):
                group.create_task(each.watch(second, task.task_id))
            for each in seen:
                await each.has_begun.wait()
            began = perf_counter()
            for each in seen:
                each.last_at, each.longest = began, 0.0
            os.kill(int(str(job.options["pid"])), int(str(job.options["signal"])))
    took = [each.went_on_at - began for each in seen if each.went_on_at]
    ends = Counter(each.end for each in seen)
    ends["not taken over"] = len(seen) - len(took)
    completed = ends.pop("completed", 0)
    return {
        "count": completed,
        "seconds": perf_counter() - began,
        "errors": dict(+ends),
        "took": summary_ms(took),
    }


class _Seen:
    """What a watcher sees of a task."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.went_on_at = self.last_at = self.longest = 0.0
        self.end = ""

    async def watch(self, stub: "pb_grpc.OrchestratorServiceAsyncStub", task_id: str) -> None:
        """To the task's end."""
        request = pb.WatchTaskRequest(task_id=task_id)
        async for event in stub.WatchTask(request, timeout=_TIMEOUT):
            if event.type == "message_delta":
                self.has_begun.set()
            now = perf_counter()
            if now - self.last_at > self.longest:
                self.longest, self.went_on_at = now - self.last_at, now
            self.last_at = now
        self.end = event.status
