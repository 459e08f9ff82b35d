"""The servicer: unpack, call, pack."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
from google.rpc import code_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis import filtering
from services.chassis.errors import ServiceError
from services.chassis.paging import Pager
from services.chassis.status import KINDS
from services.chassis.tracing.spans import life_id, serving
from services.orchestrator.domain.events import Failure
from services.orchestrator.domain.letters import Decide, Say, Word
from services.orchestrator.mapping import large
from services.orchestrator.mapping import talks as talking
from services.orchestrator.mapping import tasks as mapping
from services.orchestrator.ports import Statuses
from services.orchestrator.rpc.caller import cache_control, caller, idempotency_key
from services.orchestrator.settings import TaskSettings
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.usecases.objects import Objects
from services.orchestrator.usecases.talks import Talks
from services.orchestrator.usecases.tasks import Answer, Tasks


@dataclass(frozen=True, slots=True)
class Cases:
    """What callers can do with tasks."""

    tasks: Tasks
    talks: Talks
    objects: Objects
    statuses: Statuses


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """`Cases` over gRPC."""

    def __init__(self, cases: Cases, settings: TaskSettings, pager: Pager) -> None:
        self._tasks = cases.tasks
        self._talks = cases.talks
        self._objects = cases.objects
        self._statuses = cases.statuses
        self._pager = pager
        self._settings = settings

    async def Invoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.InvokeResponse:
        """Run a query to its end."""
        asked = mapping.request(request, idempotency_key(context), cache=cache_control())
        timeout = self._settings.invoke_timeout
        answer = await self._tasks.invoke(asked, caller(context), default_timeout=timeout)
        return await self._response(answer)

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
        spec = answer.task.spec
        serving().link(spec.trace_id, life_id(spec.task_id, 1))
        return await self._response(answer)

    async def StreamInvoke(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.TaskEvent]:
        """Run a query and stream its task's events."""
        asked = mapping.request(request, idempotency_key(context), cache=cache_control())
        streaming = self._tasks.stream(asked, caller(context))
        async with aclosing(streaming) as events:
            async for event in events:
                yield _as_stored(event)

    async def CreateTask(
        self, request: pb.InvokeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Start a task in the background."""
        asked = mapping.request(request, idempotency_key(context), cache=cache_control())
        return mapping.task(await self._tasks.create(asked, caller(context)))

    async def ListTasks(
        self, request: pb.ListTasksRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListTasksResponse:
        """A page of tasks."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._tasks.page, caller(context), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListTasksResponse(tasks=map(pb.Task.FromString, shown), next_page_token=token)

    async def GetTask(
        self, request: pb.GetTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """A task as it stands."""
        who, task_id = caller(context), request.task_id
        is_here = self._tasks.is_here(who, task_id)
        kept = None if is_here else await self._statuses.find(who.tenant, task_id)
        if kept is not None:
            return pb.Task.FromString(kept)
        task = await self._tasks.get(who, task_id)
        message = mapping.task(await self._objects.whole(task))
        if task.is_closed and not message.HasField("result_reference"):
            await self._statuses.keep(who.tenant, task_id, message.SerializeToString())
        return message

    async def WatchTask(
        self, request: pb.WatchTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.TaskEvent]:
        """A task's events, until its end."""
        watching = self._tasks.watch(caller(context), request.task_id, after=request.after_sequence)
        async with aclosing(watching) as events:
            async for event in events:
                yield _as_stored(event)

    async def Converse(
        self,
        request_iterator: AsyncIterator[pb.ConverseRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[pb.TaskEvent]:
        """Talk with a task while it runs."""
        who, key = caller(context), idempotency_key(context)
        said = (talking.said(each, who.subject, key) async for each in request_iterator)
        async with aclosing(self._talks.converse(said, who)) as events:
            async for event in events:
                yield _as_stored(event)

    async def SteerTask(
        self, request: pb.SteerTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Tell a task something more."""
        who, key = caller(context), request.idempotency_key or idempotency_key(context)
        return await self._told(who, request.task_id, Say(request.text, who.subject, key))

    async def ApproveToolCall(
        self, request: pb.ApproveToolCallRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Allow a tool call."""
        return await self._decided(request, caller(context), is_approved=True)

    async def DenyToolCall(
        self, request: pb.DenyToolCallRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Forbid a tool call."""
        return await self._decided(request, caller(context), is_approved=False)

    async def SubmitToolResult(
        self, request: pb.SubmitToolResultRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Bring the result of a call that the client ran."""
        who = caller(context)
        return await self._told(who, request.task_id, talking.returned(request, who.subject))

    async def CancelTask(
        self, request: pb.CancelTaskRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Task:
        """Cancel a task."""
        task = await self._tasks.cancel(caller(context), request.task_id, reason=request.reason)
        return mapping.task(task)

    async def GetTaskObject(
        self, request: pb.GetTaskObjectRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.TaskObject:
        """A part of a large value."""
        found, part = await self._objects.get(
            caller(context),
            request.task_id,
            request.sha256,
            offset=request.offset,
            length=request.length,
        )
        return large.part(found, part, request.task_id)

    async def _decided(
        self,
        request: pb.ApproveToolCallRequest | pb.DenyToolCallRequest,
        who: Caller,
        *,
        is_approved: bool,
    ) -> pb.Task:
        word = Decide(request.tool_call_id, is_approved, request.comment, who.subject)
        return await self._told(who, request.task_id, word)

    async def _told(self, who: Caller, task_id: str, word: Word) -> pb.Task:
        return mapping.task(await self._talks.tell(who, task_id, word))

    async def _response(self, answer: Answer) -> pb.InvokeResponse:
        task = await self._objects.whole(answer.task)
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
