"""Tools that are HTTP requests."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from importlib.metadata import version
from typing import Final, Self, cast

import httpx2

from services.chassis.context import IDEMPOTENCY_KEY
from services.chassis.egress.client import TIMEOUT, Egress
from services.chassis.egress.redirects import SECRETS, RedirectRefused
from services.chassis.errors import FailedPrecondition, ResourceExhausted, ServiceError
from services.tool_registry.adapters.http import answer
from services.tool_registry.adapters.http.answer import Expected
from services.tool_registry.adapters.http.proof import Proof, proof
from services.tool_registry.adapters.sending import sendable_key, trace
from services.tool_registry.domain import http_fields, http_target
from services.tool_registry.domain.http_request import Prepared, Template
from services.tool_registry.domain.refusals import SOON, not_called, unavailable
from services.tool_registry.domain.targets import Http, Target
from services.tool_registry.domain.tool import Entry, ToolFailure
from services.tool_registry.ports import Answer, Invocation, Secrets

_TIMEOUT: Final = TIMEOUT.as_dict()  # The caller ends what takes too long once it is connected.


class HttpTools:
    """Makes tools of HTTP targets. They share connections, which are closed with the context."""

    def __init__(
        self,
        egress: Egress,
        secrets: Secrets,
        *,
        result_bytes: int,
        now: Callable[[], datetime],
    ) -> None:
        self._egress = egress
        self._secrets = secrets
        self._result_bytes = result_bytes
        self._now = now
        self._agent = f"runplane/{version('runplane')}"
        self._transport = egress.transport()

    async def __aenter__(self) -> Self:
        """Connections are made when there are calls."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close them."""
        await self._transport.aclose()

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """See `Maker`. Names are not resolved: that is done, and checked, at each connection."""
        target = cast("Http", entry.target)
        host = http_target.host_of(target.url)
        try:
            self._egress.check(host)
        except FailedPrecondition as error:
            raise not_called(error, "tool.http.url") from None
        return entry

    def made(self, entry: Entry, tenant: str) -> "HttpTool":
        """See `Maker`."""
        return HttpTool(entry, self._send, self._secrets, self._result_bytes, self._now)

    def unavailable(self, target: Target, tenant: str) -> str:
        """See `Maker`."""
        return ""

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        request.headers.setdefault("user-agent", self._agent)
        return await self._transport.handle_async_request(request)


class HttpTool:
    """A tool that is one HTTP request."""

    unavailable = ""

    def __init__(
        self,
        entry: Entry,
        send: Callable[[httpx2.Request], Awaitable[httpx2.Response]],
        secrets: Secrets,
        result_bytes: int,
        now: Callable[[], datetime],
    ) -> None:
        definition = entry.definition
        self.entry = entry
        self._target = target = cast("Http", entry.target)
        self._template = Template(target, definition.input_schema.document)
        self._send = send
        self._secrets = secrets
        self._expected = Expected(
            definition.name, definition.output_schema, target.result, result_bytes, now
        )

    async def call(self, invocation: Invocation) -> Answer:
        """See `Tool`.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`; a value cannot stand where it has to.
            ToolFailure: as `answer.value_of`; `TARGET_FAILED`, `REDIRECT_REFUSED`.
            FailedPrecondition: `TARGET_REFUSED` or `SECRET_NOT_FOUND`.
            Unavailable: `TOOL_UNAVAILABLE`; it cannot be reached, or says so itself.
            ResourceExhausted: `TOOL_RATE_LIMITED` or `TOOLS_OVERLOADED`.
        """
        prepared = self._template.prepared(invocation.arguments)
        shown = await proof(self._target.auth, self._secrets, invocation.tenant)
        request = self._request(prepared, shown, invocation)
        try:
            response = await self._send(request)
            async with aclosing(response):
                value = await answer.value_of(response, self._expected, shown.scrub)
        except httpx2.HTTPError as error:
            # Its own words may have what was sent.
            raise _fault(error, self.entry.definition.name) from None
        return Answer(value)

    def _request(self, prepared: Prepared, shown: Proof, invocation: Invocation) -> httpx2.Request:
        url = prepared.url
        if shown.query:
            url += f"{'&' if '?' in url else '?'}{shown.query}"
        headers = {**prepared.headers, **shown.headers, **trace()}
        if self._target.method in http_fields.WITH_EFFECT and invocation.idempotency_key:
            headers[IDEMPOTENCY_KEY] = sendable_key(invocation.idempotency_key)
        return httpx2.Request(
            self._target.method,
            url,
            headers=headers,
            content=prepared.content,
            extensions={"timeout": _TIMEOUT, SECRETS: shown.scrub.forms},
        )


_Told = Callable[[httpx2.HTTPError, str], ServiceError | ToolFailure]


def _overloaded(_: httpx2.HTTPError, tool: str) -> ServiceError:
    message = "too many HTTP requests are under way; try later"
    return ResourceExhausted("TOOLS_OVERLOADED", message, tool=tool).after(SOON)


def _unreached(error: httpx2.HTTPError, tool: str) -> ServiceError:
    is_tls = "certificate verify failed" in str(error)
    why = "its certificate does not hold" if is_tls else "it takes no connection"
    message = f"the target of {tool} cannot be reached: {why}"
    return unavailable(tool, message)


def _redirected(error: httpx2.HTTPError, tool: str) -> ToolFailure:
    return ToolFailure("REDIRECT_REFUSED", f"{tool}: {error}", is_targets=True)


def _garbled(_: httpx2.HTTPError, tool: str) -> ToolFailure:
    message = f"{tool} was answered in a content encoding that is broken"
    return ToolFailure("TOOL_OUTPUT_INVALID", message, is_targets=True)


def _broken(_: httpx2.HTTPError, tool: str) -> ToolFailure:
    message = f"the target of {tool} hung up before it had answered, or answered no HTTP"
    return ToolFailure("TARGET_FAILED", message, is_targets=True)


# The first that is its kind says what became of the call.
_FAULTS: Final[tuple[tuple[type[httpx2.HTTPError], _Told], ...]] = (
    (httpx2.PoolTimeout, _overloaded),
    (httpx2.ConnectError, _unreached),
    (httpx2.ConnectTimeout, _unreached),
    (RedirectRefused, _redirected),
    (httpx2.DecodingError, _garbled),
    (httpx2.HTTPError, _broken),
)


def _fault(error: httpx2.HTTPError, tool: str) -> ServiceError | ToolFailure:
    return next(told for kind, told in _FAULTS if isinstance(error, kind))(error, tool)
