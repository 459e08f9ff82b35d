"""Actions that are agents, by the orchestrator: each is a task, found again by its key."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.client import streaming, unary
from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Action
from services.workflow.domain.instance import Instance
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded, failed

log = logging.getLogger(__name__)

STREAM: Final = timedelta(seconds=300)
"""How long one watch of a task lasts; a longer task is watched again."""
_CANCEL: Final = timedelta(seconds=5)
_LABEL: Final = "workflow_action"
"""Of a task: the key of the action that it is."""


class GrpcAgents:
    """Runs agents as tasks that go on whoever watches. An answer bound by a schema is its
    `output`."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: timedelta) -> None:
        self._stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(channel)
        self._timeout = timeout.total_seconds()

    async def run(
        self, action: Action, given: Mapping[str, object], *, key: str, instance: Instance
    ) -> Outcome:
        """See `Actions`. A task that takes longer than the action's timeout is cancelled."""
        try:
            task = await unary(
                self._stub.CreateTask, _request(action, given, key), timeout=self._timeout
            )
        except ServiceError as error:
            return failed(error)
        try:
            async with asyncio.timeout(action.timeout.total_seconds()):
                ended = await self._ended(task.task_id)
        except TimeoutError:
            await self._cancel(task.task_id, "its workflow waits no longer")
            message = f"{action.target} took longer than {action.timeout}"
            failure = ev.Failure("DEADLINE_EXCEEDED", "ACTION_TIMEOUT", message)
            return Failed(failure, is_uncertain=True)
        except ServiceError as error:
            return failed(error)
        return _outcome(ended)

    async def stop(self, action: Action, *, key: str, instance: Instance) -> None:
        """See `Actions`. It ends within its own limits where that cannot be said."""
        request = pb.ListTasksRequest(filter=f'labels.{_LABEL} = "{key}"')
        try:
            found = await unary(self._stub.ListTasks, request, timeout=self._timeout)
        except ServiceError as error:
            log.warning("task not found to be cancelled", extra={"error_code": error.reason})
            return
        for task in found.tasks:
            await self._cancel(task.task_id, "its workflow wants it no more")

    async def _ended(self, task_id: str) -> pb.Task:
        """The task, once it has ended."""
        after = 0
        while True:
            request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after)
            watching = streaming(self._stub.WatchTask, request, timeout=STREAM.total_seconds())
            try:
                async with aclosing(watching) as events:
                    async for event in events:
                        after = event.sequence
            except ServiceError as error:
                if error.code != "DEADLINE_EXCEEDED":
                    raise
                continue
            get = pb.GetTaskRequest(task_id=task_id)
            return await unary(self._stub.GetTask, get, timeout=self._timeout)

    async def _cancel(self, task_id: str, reason: str) -> None:
        request = pb.CancelTaskRequest(task_id=task_id, reason=reason)
        try:
            await unary(self._stub.CancelTask, request, timeout=_CANCEL.total_seconds())
        except ServiceError:
            return  # It has ended, or ends within its own limits.


def _request(action: Action, given: Mapping[str, object], key: str) -> pb.InvokeRequest:
    request = pb.InvokeRequest(
        query=str(given.get("query", "")),
        agent_id=action.target,
        idempotency_key=key,
        labels={_LABEL: key},
        timeout_ms=action.timeout.total_seconds() * 1000,
    )
    if isinstance(schema := given.get("response_schema"), Mapping):
        structs.from_dict(schema, request.response_schema, field="response_schema")
    return request


def _outcome(task: pb.Task) -> Outcome:
    if task.status == "completed":
        output = structs.to_value(task.output) if task.HasField("output") else None
        said = {"answer": task.result, "output": output, "task_id": task.task_id}
        return Succeeded(said)
    error = task.error
    failure = ev.Failure(
        error.grpc_status or "FAILED_PRECONDITION",
        error.error_code or "TASK_NOT_COMPLETED",
        error.message or f"task {task.task_id} is {task.status}",
        error.suggested_fix,
    )
    retry_ms = error.retry_after_ms if error.HasField("retry_after_ms") else 0.0
    return Failed(failure, retry_after=timedelta(milliseconds=retry_ms))
