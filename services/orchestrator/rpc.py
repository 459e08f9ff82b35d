"""The servicer: unpack, call, pack."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

import grpc
from google.rpc import code_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.chassis.errors import ServiceError
from services.chassis.status import KINDS
from services.orchestrator import mapping
from services.orchestrator.domain.events import Failure
from services.orchestrator.settings import TaskSettings
from services.orchestrator.usecases import Caller, Tasks


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """`Tasks` over gRPC."""

    def __init__(self, tasks: Tasks, settings: TaskSettings) -> None:
        self._tasks = tasks
        self._invoke_timeout = settings.invoke_timeout
        self._stream_timeout = settings.stream_timeout

    async def Invoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.InvokeResponse:
        """Run a query to its end."""
        asked = mapping.request(request)
        task = await self._tasks.invoke(
            asked, caller(context), default_timeout=self._invoke_timeout
        )
        if task.failure is not None:
            raise _error(task.failure, task.spec.task_id)
        return mapping.response(task)

    async def StreamInvoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.TaskEvent]:
        """Run a query and stream its task's events."""
        asked = mapping.request(request)
        streaming = self._tasks.stream(asked, caller(context), default_timeout=self._stream_timeout)
        async with aclosing(streaming) as events:
            async for event in events:
                yield _as_stored(event)

    async def GetTask(
        self, request: pb.GetTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """A task as it stands."""
        return mapping.task(await self._tasks.get(caller(context), request.task_id))

    async def WatchTask(
        self, request: pb.WatchTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.TaskEvent]:
        """A task's events, until its end."""
        watching = self._tasks.watch(caller(context), request.task_id, after=request.after_sequence)
        async with aclosing(watching) as events:
            async for event in events:
                yield _as_stored(event)

    async def CancelTask(
        self, request: pb.CancelTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Cancel a task."""
        task = await self._tasks.cancel(caller(context), request.task_id, reason=request.reason)
        return mapping.task(task)


def caller(context: "grpc.aio.ServicerContext[Any, Any]") -> Caller:
    """Who asks, and how long they wait."""
    request = current.get()
    left = context.time_remaining()
    return Caller(
        tenant=request.principal.tenant,
        subject=request.principal.subject,
        trace_id=request.trace_id,
        time_left=None if left is None else timedelta(seconds=left),
    )


def _as_stored(event: bytes) -> pb.TaskEvent:
    """Events go out as they are stored, so that every watcher gets the same bytes."""
    return cast(pb.TaskEvent, event)


def _error(failure: Failure, task_id: str) -> ServiceError:
    """A task's failure as the failure of the call that waited for it."""
    kind = KINDS[code_pb2.Code.Value(failure.code)]
    metadata = {"task_id": task_id}
    if failure.suggested_fix:
        metadata["suggested_fix"] = failure.suggested_fix
    error = kind(failure.reason, failure.message, **metadata)
    error.domain = failure.domain
    if failure.retry_after_ms is not None:
        error.after(timedelta(milliseconds=failure.retry_after_ms))
    return error
