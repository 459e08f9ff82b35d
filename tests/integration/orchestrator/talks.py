"""Talking with a task over `Converse`, as tests do it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from tests.integration.orchestrator.conftest import Suite

CALCULATE = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
ADD = pb.ClientTool(
    name="add",
    description="Adds.",
    input_schema=ParseDict(
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, Struct()
    ),
)


class Talk:
    """One `Converse` call, as a test drives it."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.events: list[pb.TaskEvent] = []

    async def say(self, **message: Any) -> None:
        await self._call.write(pb.ConverseRequest(**message))

    async def until(self, kind: str) -> pb.TaskEvent:
        """Read on to the next event of this type."""
        async with asyncio.timeout(10):
            while (event := await self._call.read()) is not grpc.aio.EOF:
                self.events.append(event)
                if event.type == kind:
                    return event
        raise AssertionError(f"no {kind} in {self.types()}")

    async def rest(self) -> None:
        """Read to the end."""
        async with asyncio.timeout(10):
            while (event := await self._call.read()) is not grpc.aio.EOF:
                self.events.append(event)

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def half_close(self) -> None:
        await self._call.done_writing()

    def leave(self) -> None:
        self._call.cancel()


@asynccontextmanager
async def talk(suite: Suite, **first: Any) -> AsyncIterator[Talk]:
    call = suite.stub.Converse(timeout=20)
    talking = Talk(call)
    await talking.say(**first)
    try:
        yield talking
    finally:
        call.cancel()


def start(query: str, **fields: Any) -> dict[str, pb.InvokeRequest]:
    return {"start": pb.InvokeRequest(query=query, **fields)}


async def reason_of(awaited: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            await awaited
    return reason_in(caught.value)


def reason_in(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    info = ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return error.code(), info.reason


async def state_of(suite: Suite, task_id: str, *states: str) -> pb.Task:
    """A task, once it is in one of these states."""
    request = pb.WatchTaskRequest(task_id=task_id)
    async for event in suite.stub.WatchTask(request, timeout=10):
        if event.status in states:
            task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
            if task.status in states:
                return task
    raise AssertionError(f"{task_id} ended and was in none of {states}")


async def call_in(suite: Suite, task_id: str, kind: str) -> str:
    """The call that the first event of this type is about."""
    request = pb.WatchTaskRequest(task_id=task_id)
    events = suite.stub.WatchTask(request, timeout=10)
    return await anext(event.tool_call_id async for event in events if event.type == kind)


async def log_of(suite: Suite, task_id: str) -> list[pb.TaskEvent]:
    request = pb.WatchTaskRequest(task_id=task_id)
    return [event async for event in suite.stub.WatchTask(request, timeout=10)]
