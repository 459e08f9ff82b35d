"""The one way a service listens: health, reflection, interceptors, admin port, graceful stop."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis.admin import Admin
from services.chassis.calls import Calls
from services.chassis.http import bound, host_and_port, serving_http
from services.chassis.interceptors import Boundary
from services.chassis.metrics import Metrics
from services.chassis.settings import ServerSettings

UNARY_TIMEOUT = timedelta(seconds=310)  # For calls without a deadline; above every default.


class Health:
    """Whether the service serves, on both the gRPC port and the admin port."""

    def __init__(self, services: Sequence[str]) -> None:
        self.servicer = health.aio.HealthServicer()
        self._services = ("", *services)
        self._is_serving = False

    def is_serving(self) -> bool:
        """Whether callers should come."""
        return self._is_serving

    async def set_serving(self, is_serving: bool) -> None:
        """Tell everyone who watches."""
        self._is_serving = is_serving
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if is_serving else states.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, state)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that listens."""

    address: str
    """`host:port` of the gRPC port."""
    admin: str
    """`host:port` of the admin port."""
    health: Health | None = None


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    age = settings.connection_age
    return [
        *([("grpc.max_connection_age_ms", round(age.total_seconds() * 1000))] if age else []),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.so_reuseport", 0),  # A taken port is an error, not a lottery.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def _listen(server: grpc.aio.Server, listen: str) -> str:
    host, port = host_and_port(listen)
    if port:
        bound(listen).close()  # Says what is wrong; grpc writes it to standard error instead.
    try:
        return f"{host}:{server.add_insecure_port(listen)}"
    except RuntimeError:
        raise OSError(f"cannot listen on {listen}: grpc refuses the address") from None


@asynccontextmanager
async def serving(  # noqa: PLR0913 - all that services differ in
    settings: ServerSettings,
    *,
    domain: str,
    register: Sequence[Callable[[grpc.aio.Server], object]],
    services: Sequence[str],
    prepare: Callable[[], Awaitable[None]] | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[Running]:
    """Listen until the context is left; then RPCs under way get the grace period to end.

    Health says NOT_SERVING until `prepare` is done, and again as soon as stopping begins.

    Raises:
        OSError: an address cannot be listened on.
    """
    measured = metrics or Metrics()
    (calls := Calls()).show_in(measured)
    boundary = Boundary(domain=domain, timeout=UNARY_TIMEOUT, calls=calls)
    server = grpc.aio.server(
        options=_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
    )
    health_of = Health(services)
    for add in register:
        add(boundary.before(server))
    health_pb2_grpc.add_HealthServicer_to_server(health_of.servicer, server)
    reflection.enable_server_reflection(
        [*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    address = _listen(server, settings.listen)
    await health_of.set_serving(False)
    async with serving_http(
        Admin(health_of.is_serving, measured, settings.admin_token),
        settings.admin,
        grace=timedelta(seconds=1),
    ) as admin:
        await server.start()
        try:
            if prepare is not None:
                await prepare()
            await health_of.set_serving(True)
            yield Running(address, admin, health_of)
        finally:
            await health_of.set_serving(False)
            await server.stop(settings.grace.total_seconds())
