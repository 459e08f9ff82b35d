"""The way out: clients and addresses for whatever tenants name, and nothing inside is reached.

A name is resolved once, all of its addresses are checked, and the connection goes to one of them:
there is no second answer of DNS to fall for. TLS still verifies the name.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Final, Self

import httpcore2
import httpx2

from services.chassis.egress.addresses import Allowed, Denied, denied, literal, refused
from services.chassis.egress.heads import Heads
from services.chassis.egress.lookups import SECONDS, SystemLookup, TooManyNames
from services.chassis.egress.redirects import Following
from services.chassis.errors import FailedPrecondition, Unavailable

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Asks for the addresses of a host, as text; raises OSError when it has none."""

LIMITS: Final = httpx2.Limits(
    max_connections=256,
    max_keepalive_connections=64,
    keepalive_expiry=4,  # Below the 5 s after which many servers close theirs.
)
TIMEOUT: Final = httpx2.Timeout(None, connect=5, pool=5)
_ATTEMPTS: Final = 4

_SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


class Egress:
    """Knows what may be called, and makes the clients that keep to it.

    Leaving its context ends the questions for names that are under way.
    """

    def __init__(
        self,
        allowed: Allowed,
        never: Denied | None = None,
        *,
        settings: str = "EGRESS",
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`never` wins over `allowed`; errors name them as `__ALLOW` and `__DENY` of `settings`.
        `lookup` and `tls` are the system's, unless a test knows better."""
        self._allowed = allowed
        self._never = never or Denied()
        self._settings = settings
        self._system = SystemLookup()
        self._lookup = lookup or self._system
        self._tls = tls  # Made once: it takes some 30 ms.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._system.close()

    def refusal(self, host: str) -> str:
        """Why a host is refused whatever DNS says, as the kind of address; empty if it is not."""
        return self._allowed.refusal_of_host(host)

    def check(self, host: str) -> None:
        """Refuse what is refused whatever DNS says.

        Raises:
            FailedPrecondition: `TARGET_REFUSED`.
        """
        if kind := self.refusal(host):
            raise self._refused(host, kind)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Addresses of a host that may be called.

        Raises:
            FailedPrecondition: `TARGET_REFUSED`; one of them may not.
            Unavailable: `TARGET_UNAVAILABLE`; there are none, or they are not known in time.
        """
        try:
            return await self._checked(host, port)
        except OSError as error:
            message = f"{host} {_why(error)}"
            raise Unavailable("TARGET_UNAVAILABLE", message, host=host) from None

    def transport(self, limits: httpx2.Limits = LIMITS) -> httpx2.AsyncBaseTransport:
        """Connections that go only where they may. It follows redirects of GET and HEAD itself."""
        self._tls = self._tls or httpx2.create_ssl_context(trust_env=False)
        return Following(_Transport(_Backend(self._checked), limits, self._tls))

    def client(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        auth: httpx2.Auth | None = None,
        limits: httpx2.Limits = LIMITS,
    ) -> httpx2.AsyncClient:
        """A client over such connections. It keeps no cookies and knows no proxies."""
        return httpx2.AsyncClient(
            transport=self.transport(limits),
            headers=dict(headers or {}),
            timeout=timeout,
            auth=auth,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        self.check(host)
        address = literal(host)
        if self._never.has(host, port, [address] if address else []):
            raise denied(host, port, setting=f"{self._settings}__DENY")
        if address is not None:
            return [str(address)]
        async with asyncio.timeout(SECONDS):
            found = await self._lookup(host, port)
        for each in found:
            if kind := self._allowed.refusal(host, ip_address(each)):
                raise self._refused(host, kind)
        if self._never.has(host, port, map(ip_address, found)):
            raise denied(host, port, setting=f"{self._settings}__DENY")
        if not found:
            raise OSError(f"{host} has no address")
        return found[:_ATTEMPTS]

    def _refused(self, host: str, kind: str) -> FailedPrecondition:
        return refused(host, kind, setting=f"{self._settings}__ALLOW")


def _why(error: OSError) -> str:
    if isinstance(error, TooManyNames):
        return "is not looked up: too many names are asked for at a time; come back later"
    return "is not found in time" if isinstance(error, TimeoutError) else "has no address"


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked."""

    def __init__(self, checked: Lookup) -> None:
        self._checked = checked
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check and connect; `timeout` seconds for all of it."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._checked(host, port)
                return Heads(await self._connected(addresses, port, timeout))
        except TimeoutError:
            raise httpcore2.ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise httpcore2.ConnectError(f"the host {_why(error)}") from None

    async def _connected(
        self, addresses: Sequence[str], port: int, timeout: float | None
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first address that takes one; each gets its share of the time."""
        share = timeout / len(addresses) if timeout else timeout
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._plain.connect_tcp(address, port, share)
        return await self._plain.connect_tcp(addresses[-1], port, share)


class _Transport(httpx2.AsyncHTTPTransport):
    """httpx2's transport, over connections that the backend makes."""

    def __init__(
        self, backend: httpcore2.AsyncNetworkBackend, limits: httpx2.Limits, tls: ssl.SSLContext
    ) -> None:
        super().__init__(verify=tls, trust_env=False, limits=limits)
        # There is no argument for it.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend,
        )
