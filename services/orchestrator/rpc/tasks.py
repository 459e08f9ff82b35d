"""The servicer: unpack, call, pack."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

import grpc
from google.rpc import code_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis import filtering
from services.chassis.errors import ServiceError
from services.chassis.paging import Pager
from services.chassis.status import KINDS
from services.orchestrator.domain.events import Failure
from services.orchestrator.mapping import tasks as mapping
from services.orchestrator.rpc.caller import caller, idempotency_key
from services.orchestrator.settings import TaskSettings
from services.orchestrator.usecases.tasks import Answer, Tasks


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """`Tasks` over gRPC."""

    def __init__(self, tasks: Tasks, settings: TaskSettings, pager: Pager) -> None:
        self._tasks = tasks
        self._pager = pager
        self._settings = settings

    async def Invoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.InvokeResponse:
        """Run a query to its end."""
        asked = mapping.request(request, idempotency_key(context))
        timeout = self._settings.invoke_timeout
        answer = await self._tasks.invoke(asked, caller(context), default_timeout=timeout)
        return self._response(answer)

    async def ContinueTask(
        self, request: pb.ContinueTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.InvokeResponse:
        """Wait once more for a task."""
        timeout_ms = request.timeout_ms if request.HasField("timeout_ms") else None
        answer = await self._tasks.continue_(
            request.continue_mark,
            timeout_ms,
            caller(context),
            default_timeout=self._settings.invoke_timeout,
        )
        return self._response(answer)

    async def StreamInvoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.TaskEvent]:
        """Run a query and stream its task's events."""
        asked = mapping.request(request, idempotency_key(context))
        streaming = self._tasks.stream(asked, caller(context))
        async with aclosing(streaming) as events:
            async for event in events:
                yield _as_stored(event)

    async def CreateTask(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Start a task in the background."""
        asked = mapping.request(request, idempotency_key(context))
        return mapping.task(await self._tasks.create(asked, caller(context)))

    async def ListTasks(
        self, request: pb.ListTasksRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListTasksResponse:
        """A page of tasks."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        found = await self._tasks.page(caller(context), where, after=after, limit=size + 1)
        has_more = len(found) > size
        token = self._pager.token(found[size - 1][0], filter=request.filter) if has_more else ""
        tasks = [pb.Task.FromString(body) for _, body in found[:size]]
        return pb.ListTasksResponse(tasks=tasks, next_page_token=token)

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

    def _response(self, answer: Answer) -> pb.InvokeResponse:
        task = answer.task
        if answer.mark:
            return mapping.partial(task, answer.mark, self._settings.retry_after)
        if task.failure is not None:
            raise _error(task.failure, task.spec.task_id, task.spec.session_id)
        return mapping.response(task)


def _as_stored(event: bytes) -> pb.TaskEvent:
    """Events go out as they are stored, so that every watcher gets the same bytes."""
    return cast(pb.TaskEvent, event)


def _error(failure: Failure, task_id: str, session_id: str) -> ServiceError:
    """A task's failure as the failure of the call that waited for it."""
    kind = KINDS[code_pb2.Code.Value(failure.code)]
    metadata = {"task_id": task_id, "session_id": session_id}
    if failure.suggested_fix:
        metadata["suggested_fix"] = failure.suggested_fix
    error = kind(failure.reason, failure.message, **metadata)
    error.domain = failure.domain
    if failure.retry_after_ms is not None:
        error.after(timedelta(milliseconds=failure.retry_after_ms))
    return error
