"""`runplane.workflow.v1.WorkflowService`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeAlias

import grpc
from runplane.workflow.v1 import events_pb2
from runplane.workflow.v1 import workflow_pb2 as pb
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from services.chassis import filtering, structs
from services.chassis.paging import Pager
from services.workflow.domain import events as ev
from services.workflow.domain.instance import Standing
from services.workflow.mapping import events as events_mapping
from services.workflow.mapping import workflows as mapping
from services.workflow.rpc.caller import caller, once
from services.workflow.rpc.gate import Gate, gated
from services.workflow.usecases.happenings import Happening, Happenings
from services.workflow.usecases.verification import Verifications
from services.workflow.usecases.workflows import Caller, Once, Start, Workflows

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class WorkflowServicer(pb_grpc.WorkflowServiceServicer):
    """`Workflows` over gRPC."""

    def __init__(
        self,
        workflows: Workflows,
        happenings: Happenings,
        verifications: Verifications,
        pagers: tuple[Pager, Pager],
    ) -> None:
        """`pagers` are for workflows and for events."""
        self.gate = Gate()
        self.verifying = Gate()
        self._workflows = workflows
        self._happenings = happenings
        self._verifications = verifications
        self._pager, self._events = pagers

    @gated
    async def StartWorkflow(
        self, request: pb.StartWorkflowRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        start = Start(
            definition=request.definition,
            version=request.version,
            data=structs.to_dict(request.data, field="data"),
            correlation_id=request.correlation_id,
            labels=dict(request.labels),
        )
        same = once(request.idempotency_key, request)
        return mapping.packed(await self._workflows.start(start, caller(), same))

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.Workflow:
        """See the contract."""
        shown = await self._workflows.shown(caller(), request.workflow_id)
        return mapping.shown(shown, request.workflow_id)

    async def ListWorkflows(
        self, request: pb.ListWorkflowsRequest, context: Context
    ) -> pb.ListWorkflowsResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._workflows.page, caller(), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListWorkflowsResponse(workflows=map(mapping.shown, shown), next_page_token=token)

    @gated
    async def SignalWorkflow(
        self, request: pb.SignalWorkflowRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        return await _told(self._workflows.signal, request)

    @gated
    async def ApproveTransition(
        self, request: pb.ApproveTransitionRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        return await _told(self._workflows.approve, request)

    @gated
    async def RejectTransition(
        self, request: pb.RejectTransitionRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        return await _told(self._workflows.reject, request)

    async def CancelWorkflow(
        self, request: pb.CancelWorkflowRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        at = await self._workflows.cancel(caller(), request.workflow_id, request.reason)
        return mapping.packed(at)

    async def CompensateWorkflow(
        self, request: pb.CompensateWorkflowRequest, context: Context
    ) -> pb.Workflow:
        """See the contract."""
        at = await self._workflows.compensate(caller(), request.workflow_id, request.reason)
        return mapping.packed(at)

    async def VerifyWorkflow(
        self, request: pb.VerifyWorkflowRequest, context: Context
    ) -> pb.Verification:
        """See the contract."""
        async with self.verifying.alone():
            found = await self._verifications.asked(caller(), request.workflow_id)
        return mapping.verification(found)

    async def ListWorkflowEvents(
        self, request: pb.ListWorkflowEventsRequest, context: Context
    ) -> pb.ListWorkflowEventsResponse:
        """See the contract."""
        size = self._events.size(request.page_size)
        bound = {"workflow_id": request.workflow_id, "since": str(request.after_sequence)}
        token = self._events.after(request.page_token, **bound)
        who, first = caller(), request.after_sequence

        async def read(*, after: str, limit: int) -> list[tuple[str, bytes]]:
            since = int(after or first)
            page = await self._workflows.events(who, request.workflow_id, after=since, limit=limit)
            return [(str(since + number), body) for number, body in enumerate(page, 1)]

        shown, next_token = await self._events.page(read, token, size, **bound)
        since = int(token or first)
        events = [
            events_mapping.shown(body, request.workflow_id, since + number)
            for number, body in enumerate(shown, 1)
        ]
        return pb.ListWorkflowEventsResponse(events=events, next_page_token=next_token)

    async def WatchWorkflow(
        self, request: pb.WatchWorkflowRequest, context: Context
    ) -> AsyncIterator[events_pb2.WorkflowEvent]:
        """See the contract."""
        watching = self._workflows.watch(
            caller(), request.workflow_id, after=request.after_sequence
        )
        last = request.after_sequence
        async with aclosing(watching) as bodies:
            async for body in bodies:
                last += 1
                yield events_mapping.shown(body, request.workflow_id, last)

    @gated
    async def PublishEvent(
        self, request: pb.PublishEventRequest, context: Context
    ) -> pb.PublishEventResponse:
        """See the contract."""
        happening = Happening(
            id="",
            type=request.event_type,
            payload=structs.to_dict(request.payload, field="payload"),
            correlation_id=request.correlation_id,
            workflow_id=request.workflow_id,
        )
        same = once(request.idempotency_key, request)
        event_id = await self._happenings.publish(caller(), happening, same)
        return pb.PublishEventResponse(event_id=event_id)


async def _told(
    tell: Callable[[Caller, str, ev.Signal, str, Once], Awaitable[Standing]],
    request: pb.SignalWorkflowRequest | pb.ApproveTransitionRequest | pb.RejectTransitionRequest,
) -> pb.Workflow:
    who = caller()
    signal = mapping.signal(request, who.subject)
    same = once(request.idempotency_key, request)
    at = await tell(who, request.workflow_id, signal, request.expected_state, same)
    return mapping.packed(at)
