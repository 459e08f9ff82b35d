"""Connections to gRPC servers that tools run at, shared by address and bounded in number.

A channel connects to addresses that were checked, and to nothing else: it resolves no name, goes
through no proxy and follows no service config. Names are resolved again now and then.
"""

import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import grpc

from services.chassis.lately import Lately
from services.tool_registry.domain.grpc_target import host_and_port
from services.tool_registry.domain.targets import Grpc

MOST: Final = 64
"""Channels that are kept when no call uses them."""
FRESH_SECONDS: Final = 30.0
"""For how long a name's addresses are believed."""

_Key: TypeAlias = tuple[str, bool]


class Resolver(Protocol):
    """Knows which addresses may be connected to."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Addresses of the host, each of which is allowed.

        Raises:
            ServiceError: `TARGET_REFUSED`, or the host has no address.
        """


@dataclass(slots=True)
class _Line:
    channel: grpc.aio.Channel
    addresses: Sequence[str]
    checked: float = 0.0
    calls: int = 0


class Channels:
    """Lends channels. Leaving its context closes them."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        max_bytes: int,
        most: int = MOST,
        roots: bytes | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_bytes` of an answer; `roots` are trusted instead of gRPC's own, in PEM."""
        self._resolver = resolver
        self._max_bytes = max_bytes
        self._roots = roots
        self._now = now
        self._retired: list[_Line] = []
        self._lines: Lately[_Key, _Line] = Lately(most, forget=self._retire)

    async def __aenter__(self) -> "Channels":
        return self

    async def __aexit__(self, *error: object) -> None:
        for line in (*self._lines.values(), *self._retired):
            await line.channel.close()

    @asynccontextmanager
    async def lent(self, target: Grpc) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to the target, for one call. Raises as `Resolver.resolve`."""
        key = (target.address, target.tls)
        line = self._lines.get(key)
        if line is None or self._now() - line.checked > FRESH_SECONDS:
            line = self._renewed(target, await self.addresses(target))
        line.calls += 1
        try:
            await self._clear()
            yield line.channel
        finally:
            line.calls -= 1
            await self._clear()

    async def addresses(self, target: Grpc) -> Sequence[str]:
        """Where the target is now. Raises as `Resolver.resolve`."""
        return await self._resolver.resolve(*host_and_port(target.address))

    def _renewed(self, target: Grpc, addresses: Sequence[str]) -> _Line:
        """The channel there is, if it goes where the target is now, or a new one."""
        key = (target.address, target.tls)
        line = self._lines.get(key)
        if line is None or set(line.addresses) != set(addresses):
            if line is not None:
                self._retire(line)
            line = self._lines.put(key, _Line(self._opened(target, addresses), addresses))
        line.checked = self._now()
        return line

    def _retire(self, line: _Line) -> None:
        self._retired.append(line)

    async def _clear(self) -> None:
        """Close what is lent no more and used by no call."""
        while idle := next((line for line in self._retired if not line.calls), None):
            self._retired.remove(idle)  # By itself: being cancelled leaves the others for later.
            await idle.channel.close()

    def _opened(self, target: Grpc, addresses: Sequence[str]) -> grpc.aio.Channel:
        host, port = host_and_port(target.address)
        options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", self._max_bytes),
            ("grpc.default_authority", target.address),
        ]
        where = target_of(addresses, port)
        if not target.tls:
            return grpc.aio.insecure_channel(where, options=options)
        credentials = grpc.ssl_channel_credentials(self._roots)
        named = [*options, ("grpc.ssl_target_name_override", host)]
        return grpc.aio.secure_channel(where, credentials, options=named)


_OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_send_message_length", -1),  # The input is bounded already.
    ("grpc.keepalive_time_ms", 300_000),  # As often as servers allow that say nothing of it.
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def target_of(addresses: Sequence[str], port: int) -> str:
    """What grpc is to connect to: one of these, in this order."""
    parsed = [ipaddress.ip_address(each) for each in addresses]
    if all(each.version == 4 for each in parsed):
        return "ipv4:" + ",".join(f"{each}:{port}" for each in parsed)
    mapped = [f"::ffff:{each}" if each.version == 4 else str(each) for each in parsed]
    return "ipv6:" + ",".join(f"[{each}]:{port}" for each in mapped)
