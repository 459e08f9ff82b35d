"""Tasks that are cancelled while they generate, with an engine of one slot.

When the slot is free again is what a second generation says that waits for it: it is sent together
with the cancel and reports how long it queued.
"""

import asyncio
import re
from collections import Counter
from time import perf_counter
from typing import Final

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.type.v1 import content_pb2, usage_pb2

from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Connection, connect, request
from benchmarks.load.job import Job, Report
from benchmarks.load.streams import DELTA, START

_TASK: Final = re.compile(rb'"task_id":"(task_[0-9a-z]+)"')
_TIMEOUT: Final = 30
_INTO_THE_SLEEP: Final = 0.03
WAITER: Final = pb.GenerateRequest(
    messages=[content_pb2.Message(role="user", content="Hi")],
    sampling=usage_pb2.Sampling(max_tokens=1),
)


async def run(job: Job) -> Report:
    """`job.count` times: start a task, wait for its text (`options.silent`: start), cancel."""
    answered: list[float] = []
    idle: list[float] = []
    errors: Counter[str] = Counter()
    began = perf_counter()
    streaming, canceling = await connect(job.address), await connect(job.address)
    async with grpc.aio.insecure_channel(job.target) as channel:
        inference = pb_grpc.InferenceServiceStub(channel)
        await inference.Generate(WAITER, timeout=_TIMEOUT)
        for _ in range(job.count):
            try:
                took, queued = await _once(job, streaming, canceling, inference)
            except (EOFError, ValueError, grpc.aio.AioRpcError) as error:
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


async def _once(
    job: Job,
    streaming: Connection,
    canceling: Connection,
    inference: "pb_grpc.InferenceServiceAsyncStub",
) -> tuple[float, float]:
    marks = (START, b"\n\r\n") if job.options.get("silent") else (START, b"\n\r\n", DELTA)
    stream = streaming.begin(request(job.address, job.path, job.body), marks)
    await stream.seen(len(marks))
    if job.options.get("silent"):
        await asyncio.sleep(_INTO_THE_SLEEP)
    match = _TASK.search(stream.content)
    if match is None:
        raise ValueError("a task_start without task_id")
    cancel = request(job.address, f"/v1/tasks/{match[1].decode()}:cancel", {})
    waiting = inference.Generate(WAITER, timeout=_TIMEOUT)
    answer = await canceling.ask(cancel)
    freed = await waiting
    await stream.complete()
    if answer.status != 200 or not answer.contains(b'"status":"canceled"'):
        raise ValueError(f"cancel answered {answer.status} {answer.content[-200:]!r}")
    if not freed.metrics.queue_ms:
        raise ValueError("the engine was idle before the cancel")
    return answer.ended - answer.began, freed.metrics.queue_ms / 1e3
