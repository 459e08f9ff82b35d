"""`google.longrunning.Operations`."""

from datetime import timedelta
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc as pb_grpc
from google.protobuf.empty_pb2 import Empty

from services.chassis.context import current
from services.chassis.errors import Violation, invalid
from services.chassis.operations.runner import Operations
from services.chassis.paging import Pager

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Operations"].full_name
_LONGEST: Final = timedelta(minutes=5)
_SHARE: Final = 0.9
"""Of the time that a caller has left; the rest is for the answer."""

Context = grpc.aio.ServicerContext


class OperationsServicer(pb_grpc.OperationsServicer):  # type: ignore[misc] # It has no types.
    """See the contract."""

    def __init__(self, operations: Operations, pager: Pager) -> None:
        self._operations = operations
        self._pager = pager

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: "Context[Any, Any]"
    ) -> pb.Operation:
        """See the contract."""
        return await self._operations.kept.find(_tenant(), request.name)

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: "Context[Any, Any]"
    ) -> pb.ListOperationsResponse:
        """The newest first; without filters."""
        if request.filter:
            fix = "leave it out: operations are listed from the newest on"
            raise invalid(Violation("filter", "is not offered", fix), reason="FILTER_INVALID")
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token)
        tenant = _tenant()

        async def read(*, after: str, limit: int) -> Any:
            return await self._operations.kept.page(tenant, after=after, limit=limit)

        shown, token = await self._pager.page(read, after, size)
        return pb.ListOperationsResponse(
            operations=map(pb.Operation.FromString, shown), next_page_token=token
        )

    async def DeleteOperation(
        self, request: pb.DeleteOperationRequest, context: "Context[Any, Any]"
    ) -> Empty:
        """See the contract; one that runs is not deleted."""
        now = self._operations.setup.now()
        await self._operations.kept.delete(_tenant(), request.name, now)
        return Empty()

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: "Context[Any, Any]"
    ) -> Empty:
        """See the contract."""
        await self._operations.cancel(_tenant(), request.name)
        return Empty()

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: "Context[Any, Any]"
    ) -> pb.Operation:
        """See the contract."""
        wanted = request.timeout.ToTimedelta() if request.HasField("timeout") else _LONGEST
        if wanted < timedelta(0):
            fix = "send 0s or more, or leave it out"
            raise invalid(Violation("timeout", "is negative", fix))
        left = context.time_remaining()
        most = _LONGEST if left is None else timedelta(seconds=left) * _SHARE
        return await self._operations.wait(_tenant(), request.name, min(wanted, most))


def add_to_server(servicer: OperationsServicer, server: grpc.aio.Server) -> None:
    """Register, as code that grpc generates today does; that of google's package is older."""
    messages = pb.DESCRIPTOR.services_by_name["Operations"].methods_by_name
    handlers: dict[str, Any] = {}
    for name, method in messages.items():
        read = getattr(pb, method.input_type.name).FromString
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=read,
            response_serializer=lambda message: message.SerializeToString(),
        )
    server.add_registered_method_handlers(SERVICE, handlers)


def _tenant() -> str:
    return current.get().principal.tenant
