"""`runplane.tool_registry.v1.ResourceService`."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import grpc
from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import resources_pb2 as pb
from runplane.tool_registry.v1 import resources_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.chassis.paging import Pager
from services.tool_registry.domain.server import Item
from services.tool_registry.mapping import resources as mapping
from services.tool_registry.mapping.asking import asking
from services.tool_registry.usecases.resources import Resources

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class _Items(Protocol):
    def __call__(self, tenant: str, *, after: str, size: int) -> Awaitable[list[Item]]: ...


class _Paged(Protocol):
    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class Pagers:
    """One for each list."""

    resources: Pager
    templates: Pager
    prompts: Pager


class ResourceServicer(pb_grpc.ResourceServiceServicer):
    """`Resources` over gRPC."""

    def __init__(self, resources: Resources, pagers: Pagers) -> None:
        self._resources = resources
        self._pagers = pagers

    async def ListResources(
        self, request: pb.ListResourcesRequest, context: Context
    ) -> pb.ListResourcesResponse:
        """See the contract."""
        shown, token = await _page(
            self._pagers.resources, request, self._resources.resources, "uri"
        )
        return pb.ListResourcesResponse(resources=shown, next_page_token=token)

    async def ListResourceTemplates(
        self, request: pb.ListResourceTemplatesRequest, context: Context
    ) -> pb.ListResourceTemplatesResponse:
        """See the contract."""
        shown, token = await _page(
            self._pagers.templates,
            request,
            self._resources.templates,
            "uriTemplate",
        )
        return pb.ListResourceTemplatesResponse(resource_templates=shown, next_page_token=token)

    async def ReadResource(
        self, request: pb.ReadResourceRequest, context: Context
    ) -> pb.ReadResourceResponse:
        """See the contract."""
        reply = await self._resources.read(_tenant(), request.uri, request.server, asking(request))
        return await asyncio.to_thread(mapping.contents, reply)

    async def ListPrompts(
        self, request: pb.ListPromptsRequest, context: Context
    ) -> pb.ListPromptsResponse:
        """See the contract."""
        shown, token = await _page(self._pagers.prompts, request, self._resources.prompts, "name")
        return pb.ListPromptsResponse(prompts=shown, next_page_token=token)

    async def GetPrompt(
        self, request: pb.GetPromptRequest, context: Context
    ) -> pb.GetPromptResponse:
        """See the contract."""
        reply = await self._resources.prompt(
            _tenant(), request.name, dict(request.arguments), asking(request)
        )
        return await asyncio.to_thread(mapping.prompt, reply)

    async def Complete(self, request: pb.CompleteRequest, context: Context) -> pb.CompleteResponse:
        """See the contract."""
        found = await self._resources.complete(
            _tenant(),
            mapping.reference(request),
            (request.argument, request.value),
            dict(request.context),
        )
        return mapping.suggestions(found)


async def _page(pager: Pager, request: _Paged, items: _Items, key: str) -> tuple[list[Struct], str]:
    """A page of items, by what they have under a key, and its token."""
    size, after = pager.size(request.page_size), pager.after(request.page_token)
    tenant = _tenant()

    async def read(*, after: str, limit: int) -> list[tuple[str, bytes]]:
        page = await items(tenant, after=after, size=limit)
        return [(str(each[key]), mapping.packed(each)) for each in page]

    shown, token = await pager.page(read, after, size)
    return [Struct.FromString(each) for each in shown], token


def _tenant() -> str:
    return current.get().principal.tenant
