"""`runplane.tool_registry.v1.McpServerService`."""

from datetime import timedelta
from typing import TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.tool_registry.v1 import servers_pb2 as pb
from runplane.tool_registry.v1 import servers_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.chassis.fingerprint import fingerprint
from services.chassis.paging import Pager
from services.tool_registry.domain.caller import Caller
from services.tool_registry.mapping import servers as mapping
from services.tool_registry.usecases.servers import Request, Servers, Shown

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class McpServerServicer(pb_grpc.McpServerServiceServicer):
    """`Servers` over gRPC."""

    def __init__(self, servers: Servers, pager: Pager) -> None:
        self._servers = servers
        self._pager = pager

    async def RegisterMcpServer(
        self, request: pb.RegisterMcpServerRequest, context: Context
    ) -> pb.McpServer:
        """See the contract."""
        key = request.idempotency_key or current.get().idempotency_key
        shown = await self._servers.register(
            mapping.server(request.server),
            _caller(),
            Request(_time_left(context), key, fingerprint(request.server) if key else ""),
        )
        return _message(shown)

    async def UpdateMcpServer(
        self, request: pb.UpdateMcpServerRequest, context: Context
    ) -> pb.McpServer:
        """See the contract."""
        shown = await self._servers.update(
            _caller(),
            request.namespace,
            mapping.server(request.server),
            mapping.mask(request),
            Request(_time_left(context)),
        )
        return _message(shown)

    async def GetMcpServer(self, request: pb.GetMcpServerRequest, context: Context) -> pb.McpServer:
        """See the contract."""
        return _message(await self._servers.get(_caller(), request.namespace))

    async def ListMcpServers(
        self, request: pb.ListMcpServersRequest, context: Context
    ) -> pb.ListMcpServersResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token)
        tenant = _caller().tenant

        async def read(*, after: str, limit: int) -> list[tuple[str, bytes]]:
            page = await self._servers.page(tenant=tenant, after=after, limit=limit)
            return [(each.server.namespace, _message(each).SerializeToString()) for each in page]

        shown, token = await self._pager.page(read, after, size)
        return pb.ListMcpServersResponse(
            servers=map(pb.McpServer.FromString, shown), next_page_token=token
        )

    async def RefreshMcpServer(
        self, request: pb.RefreshMcpServerRequest, context: Context
    ) -> pb.McpServer:
        """See the contract."""
        return _message(await self._servers.refresh(_caller(), request.namespace))

    async def DeleteMcpServer(self, request: pb.DeleteMcpServerRequest, context: Context) -> Empty:
        """See the contract."""
        await self._servers.delete(_caller(), request.namespace)
        return Empty()


def _caller() -> Caller:
    who = current.get().principal
    return Caller(who.tenant, who.subject)


def _time_left(context: Context) -> timedelta | None:
    left = context.time_remaining()
    return None if left is None else timedelta(seconds=left)


def _message(shown: Shown) -> pb.McpServer:
    return mapping.message(shown.server, shown.seen)
