"""The servicer of usage and quotas: unpack, call, pack."""

from functools import partial
from typing import TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.orchestrator.v1 import usage_pb2 as pb
from runplane.orchestrator.v1 import usage_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.chassis.paging import Pager
from services.orchestrator.mapping import usage as mapping
from services.orchestrator.usecases.usage import Usages, whole

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class UsageServicer(pb_grpc.UsageServiceServicer):
    """`Usages` over gRPC."""

    def __init__(self, usages: Usages, rows: Pager, quotas: Pager) -> None:
        self._usages = usages
        self._rows = rows
        self._quotas = quotas

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.Usage:
        """What the tenant, an agent or a session used."""
        scope = mapping.scope(request.scope)
        asked = (
            mapping.day("start_date", request.start_date),
            mapping.day("end_date", request.end_date),
        )
        first, last, days = await self._usages.used(_tenant(), scope, request.subject, *asked)
        return pb.Usage(
            scope=scope,
            subject=request.subject,
            start_date=first.isoformat(),
            end_date=last.isoformat(),
            total=mapping.figures(whole(days)),
            days=[mapping.row(request.subject, *each) for each in days],
        )

    async def ListUsage(
        self, request: pb.ListUsageRequest, context: Context
    ) -> pb.ListUsageResponse:
        """What each agent or session used, by day."""
        scope = mapping.listed_scope(request.scope)
        size = self._rows.size(request.page_size)
        after = self._rows.after(request.page_token, scope=scope)
        read = partial(self._usages.page, _tenant(), scope)
        found = [mapping.row(*each) for each in await read(after=after, limit=size + 1)]
        token = ""
        if len(found) > size:
            last = found[size - 1]
            token = self._rows.token(f"{last.subject}/{last.date}", scope=scope)
        return pb.ListUsageResponse(rows=found[:size], next_page_token=token)

    async def CreateQuota(self, request: pb.CreateQuotaRequest, context: Context) -> pb.Quota:
        """Keep a new quota."""
        created = await self._usages.create(_tenant(), mapping.quota(request.quota))
        return mapping.quota_message(created)

    async def ListQuotas(
        self, request: pb.ListQuotasRequest, context: Context
    ) -> pb.ListQuotasResponse:
        """A page of quotas."""
        size = self._quotas.size(request.page_size)
        after = self._quotas.after(request.page_token)
        rest = [each for each in await self._usages.quotas(_tenant()) if each.quota_id > after]
        token = self._quotas.token(rest[size - 1].quota_id) if len(rest) > size else ""
        shown = map(mapping.quota_message, rest[:size])
        return pb.ListQuotasResponse(quotas=shown, next_page_token=token)

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.Quota:
        """A quota."""
        return mapping.quota_message(*await self._usages.get(_tenant(), request.quota_id))

    async def UpdateQuota(self, request: pb.UpdateQuotaRequest, context: Context) -> pb.Quota:
        """Replace the limits of a quota."""
        limits = mapping.limits(request.quota)
        updated = await self._usages.update(
            _tenant(), request.quota_id, limits, request.quota.version
        )
        return mapping.quota_message(updated)

    async def DeleteQuota(self, request: pb.DeleteQuotaRequest, context: Context) -> Empty:
        """Delete a quota."""
        await self._usages.delete(_tenant(), request.quota_id)
        return Empty()


def _tenant() -> str:
    return current.get().principal.tenant
