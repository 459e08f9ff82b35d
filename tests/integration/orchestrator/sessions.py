"""What tests of sessions share."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import sessions_pb2 as ss

from tests.integration.orchestrator.conftest import Suite


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    """The code and the reason with which a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(15):
            await call
    return caught.value.code().name, info(caught.value).reason


def info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """What an error says for programs."""
    found = ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(found)
    return found


async def said(suite: Suite, query: str, session_id: str = "", **fields: object) -> str:
    """A turn to its end; the session's id."""
    request = pb.InvokeRequest(query=query, session_id=session_id, **fields)
    response = await suite.stub.Invoke(request, timeout=15)
    assert response.status == "completed"
    return response.metadata.session_id


async def begun(suite: Suite, query: str, session_id: str = "", **fields: object) -> pb.Task:
    """A turn in the background."""
    request = pb.InvokeRequest(query=query, session_id=session_id, **fields)
    return await suite.stub.CreateTask(request, timeout=15)


async def ended(suite: Suite, task_id: str) -> pb.Task:
    """A task, once it has ended."""
    async with asyncio.timeout(15):
        async for _ in suite.stub.WatchTask(pb.WatchTaskRequest(task_id=task_id)):
            pass
    return await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id))


async def messages(suite: Suite, session_id: str) -> list[tuple[int, str, str]]:
    """What was said in a session: number, role and text."""
    request = ss.ListMessagesRequest(session_id=session_id, page_size=1000)
    listed = await suite.sessions.ListMessages(request, timeout=5)
    return [(each.message, each.role, each.content) for each in listed.messages]


async def prompt_tokens(suite: Suite, query: str, session_id: str = "", **fields: object) -> int:
    """How long the prompt of a turn without tools was, in words."""
    events = await suite.events(query, session_id=session_id, tool_choice="none", **fields)
    assert events[-1].status == "completed", events[-1]
    return next(each for each in events if each.type == "final_answer").usage.prompt_tokens
