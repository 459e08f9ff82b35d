"""Workflows over gRPC: run to their end, signalled, undone, and left waiting.

An end is learnt from a watch that begins with the last event, so it is one message: how many events
a workflow has is known. That costs the service one short stream a workflow, which is counted.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, TypeAlias

import grpc
import psutil
from runplane.workflow.v1 import definitions_pb2 as definitions_pb
from runplane.workflow.v1 import definitions_pb2_grpc as definitions_grpc
from runplane.workflow.v1 import workflow_pb2 as pb
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from benchmarks.load.figures import summary_ms
from benchmarks.load.job import Job, Report
from services.chassis.settings import ServerSettings, SharedSettings
from services.workflow.app import running
from services.workflow.settings import Settings

TIMEOUT: Final = 30
_ACTION: Final = '{tool: calculator, input: {expression: "12*7"}, save_as: r}'
_UNDONE: Final = (
    '{tool: calculator, input: {expression: "12*7"},'
    ' compensation: {tool: calculator, input: {expression: "7*12"}}}'
)
THREE: Final = f"""
name: bench_three
state_machine:
  one: {{on_enter: [{_ACTION}], on_success: two}}
  two: {{on_enter: [{_ACTION}], on_success: three}}
  three: {{on_enter: [{_ACTION}], on_success: done}}
"""
SWINGS: Final = """
name: bench_swings
initial: here
state_machine:
  here: {transitions: [there, over]}
  there: {transitions: [here]}
"""
UNDOES: Final = f"""
name: bench_undoes
state_machine:
  one: {{on_enter: [{_UNDONE}], on_success: done}}
"""
WAITS: Final = """
name: bench_waits
state_machine:
  waiting: {transitions: [done], timeout: {after: 1h, target: late}}
  late: {terminal: failure}
"""
THREE_EVENTS: Final = 8
UNDOES_EVENTS: Final = 4


async def run(job: Job) -> Report:
    """Three steps each: by `job.callers` at once, for `job.seconds`."""

    async def one(stub: "pb_grpc.WorkflowServiceAsyncStub") -> float:
        began = perf_counter()
        started = await stub.StartWorkflow(
            pb.StartWorkflowRequest(definition="bench_three"), timeout=TIMEOUT
        )
        await _end(stub, started.workflow_id, THREE_EVENTS, "completed")
        return perf_counter() - began

    return await _closed(job, THREE, lambda stub: _same(one, stub))


async def signals(job: Job) -> Report:
    """Each caller signals a workflow of its own, there and back, until its time is over."""

    async def prepared(
        stub: "pb_grpc.WorkflowServiceAsyncStub",
    ) -> Call:
        start = pb.StartWorkflowRequest(definition="bench_swings")
        workflow = await stub.StartWorkflow(start, timeout=TIMEOUT)

        async def swing() -> float:
            nonlocal workflow
            target = "there" if workflow.current_state == "here" else "here"
            request = pb.SignalWorkflowRequest(workflow_id=workflow.workflow_id, target=target)
            began = perf_counter()
            workflow = await stub.SignalWorkflow(request, timeout=TIMEOUT)
            if workflow.current_state != target:
                raise ArithmeticError(f"it is in {workflow.current_state}, not in {target}")
            return perf_counter() - began

        return swing

    return await _closed(job, SWINGS, prepared)


async def undos(job: Job) -> Report:
    """One action each is done, and then undone: from the request to the workflow's end."""

    async def one(stub: "pb_grpc.WorkflowServiceAsyncStub") -> float:
        start = pb.StartWorkflowRequest(definition="bench_undoes")
        workflow_id = (await stub.StartWorkflow(start, timeout=TIMEOUT)).workflow_id
        await _end(stub, workflow_id, UNDOES_EVENTS, "completed")
        began = perf_counter()
        request = pb.CompensateWorkflowRequest(workflow_id=workflow_id)
        await stub.CompensateWorkflow(request, timeout=TIMEOUT)
        await _end(stub, workflow_id, UNDOES_EVENTS + 3, "compensated")
        return perf_counter() - began

    return await _closed(job, UNDOES, lambda stub: _same(one, stub))


async def waiting(job: Job) -> Report:
    """`job.count` workflows that wait for an hour, in a service of this process: what it has of
    tasks and memory before and after. The client that started them has some of both."""
    shared = SharedSettings(page_token_key="00" * 32, event_store=str(job.options["url"]))  # type: ignore[arg-type]
    async with (
        running(Settings(server=ServerSettings()), shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        await _define(channel, WAITS)
        stub = pb_grpc.WorkflowServiceStub(channel)
        start = pb.StartWorkflowRequest(definition="bench_waits")

        async def some(count: int) -> None:
            for _ in range(count):
                await stub.StartWorkflow(start, timeout=TIMEOUT)

        await some(job.callers)
        before = _size()
        began = perf_counter()
        await asyncio.gather(*(some(job.count // job.callers) for _ in range(job.callers)))
        took = perf_counter() - began
        await asyncio.sleep(1)
        after = _size()
    return {
        "count": job.count,
        "seconds": took,
        "errors": {},
        "tasks": {"before": before[0], "after": after[0]},
        "mib": {"before": before[1], "after": after[1]},
    }


def _size() -> tuple[int, float]:
    return len(asyncio.all_tasks()), psutil.Process(os.getpid()).memory_info().rss / 2**20


Call: TypeAlias = Callable[[], Awaitable[float]]
"""Does it once; how many seconds it took."""
Prepared: TypeAlias = "Callable[[pb_grpc.WorkflowServiceAsyncStub], Awaitable[Call]]"


async def _closed(job: Job, yaml: str, prepared: Prepared) -> Report:
    """So many callers, each again as soon as it is through, until the time is over."""
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(job.target) as channel:
        await _define(channel, yaml)
        stub = pb_grpc.WorkflowServiceStub(channel)
        callers = [await prepared(stub) for _ in range(job.callers)]
        began = perf_counter()

        async def again_and_again(call: Call) -> None:
            while perf_counter() < began + job.seconds:
                try:
                    latencies.append(await call())
                except grpc.aio.AioRpcError as error:
                    errors[f"{error.code().name}: {error.details()}"[:200]] += 1
                except ArithmeticError as error:
                    errors[str(error)] += 1

        await asyncio.gather(*(again_and_again(call) for call in callers))
        took = perf_counter() - began
    return {
        "count": len(latencies),
        "seconds": took,
        "errors": dict(errors),
        "latency": summary_ms(latencies),
    }


async def _same(
    one: Callable[["pb_grpc.WorkflowServiceAsyncStub"], Awaitable[float]],
    stub: "pb_grpc.WorkflowServiceAsyncStub",
) -> Call:
    """The same each time, with nothing to prepare."""
    return lambda: one(stub)


async def _define(channel: grpc.aio.Channel, yaml: str) -> None:
    definitions = definitions_grpc.DefinitionServiceStub(channel)
    request = definitions_pb.CreateDefinitionRequest(yaml=yaml)
    await definitions.CreateDefinition(request, timeout=TIMEOUT)


async def _end(
    stub: "pb_grpc.WorkflowServiceAsyncStub", workflow_id: str, events: int, status: str
) -> None:
    """Wait until a workflow of so many events has ended so."""
    request = pb.WatchWorkflowRequest(workflow_id=workflow_id, after_sequence=events - 1)
    said = [event.status async for event in stub.WatchWorkflow(request, timeout=TIMEOUT)]
    if said != [status]:
        raise ArithmeticError(f"it is {said}, not {status}")
