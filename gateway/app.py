"""The edge put together: `running(settings)`."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import timedelta
from typing import Final

import grpc

from gateway import codec, templates
from gateway.conversation import Conversation
from gateway.edge import Application
from gateway.endpoints import Edge, Endpoint, Streaming, Unary
from gateway.http import serving_edge
from gateway.mcp.endpoint import PATH, Mcp
from gateway.mcp.operations import Operations
from gateway.metrics import Requests
from gateway.operations import About, Alive, Ready
from gateway.pages import File
from gateway.routes import Route, Router
from gateway.settings import Settings
from gateway.traffic import Traffic
from services.chassis.admin import Admin
from services.chassis.client import channel
from services.chassis.http import bound, serving_http
from services.chassis.metrics import Metrics
from services.chassis.server import Running

Channels = Mapping[str, grpc.aio.Channel]

# Where our own files are, and what they are.
FILES: Final = {
    "/openapi.json": ("openapi/openapi.json", "application/json"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
}
# By whether replies stream, and requests as well.
_KINDS: Final[dict[tuple[bool, bool], type[Unary | Streaming | Conversation]]] = {
    (False, False): Unary,
    (True, False): Streaming,
    (True, True): Conversation,
}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Run the edge until the context is left; then requests under way get the grace period.

    Raises:
        OSError: an address cannot be listened on.
    """
    async with AsyncExitStack() as stack:
        sock = stack.enter_context(closing(bound(settings.listen)))
        channels = {
            name: await stack.enter_async_context(channel(getattr(settings, name)))
            for name in codec.CONTRACTS
        }
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        traffic = Traffic(tasks, max_requests=settings.limits.max_requests)
        edge = Edge(settings, traffic)
        requests, operations, measured = Requests(), Operations(), Metrics()
        requests.show_in(measured)
        measured.show(operations.durations)
        mcp = await stack.enter_async_context(Mcp(edge, channels, operations))
        application = Application(router(edge, channels, mcp), traffic, settings, requests)
        admin = await stack.enter_async_context(
            serving_http(
                Admin(lambda: not traffic.is_stopping, measured, settings.admin_token),
                settings.admin,
                grace=timedelta(seconds=1),
            )
        )
        address = await stack.enter_async_context(serving_edge(application, sock, settings))
        try:
            yield Running(address, admin)
        finally:
            await traffic.drain(settings.grace)


def router(edge: Edge, channels: Channels, mcp: Endpoint) -> Router[Endpoint]:
    """All routes: those of the contracts, and the edge's own.

    Raises:
        ValueError: a contract's HTTP rule cannot be served.
    """
    routes = list(_rpcs(edge, channels))
    listed = sorted(f"{route.method} {path}" for path, route in routes)
    own: dict[str, Endpoint] = {
        "/healthz": Alive(),
        "/readyz": Ready(channels, edge.traffic),
        **{route: File(route, *each) for route, each in FILES.items()},
    }
    root = templates.Template(("",), ())
    return Router(
        [
            *(route for _, route in routes),
            *(Route("GET", templates.parse(path), each) for path, each in own.items()),
            Route("GET", root, About([*listed, f"POST {PATH}"])),
            Route("POST", templates.parse(PATH), mcp),
        ]
    )


def _rpcs(edge: Edge, channels: Channels) -> Iterator[tuple[str, Route[Endpoint]]]:
    for method in codec.methods():
        kind = _KINDS[method.is_stream, method.is_bidi]
        for rule in method.rules:
            template = templates.parse(rule.template)
            endpoint = kind(edge, method, rule, template, channels[method.service])
            yield (
                rule.template,
                Route(rule.verb, template, endpoint, has_head=not method.is_stream),
            )
