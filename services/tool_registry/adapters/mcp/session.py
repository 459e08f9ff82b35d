"""A session with one server: connected, and agreed on a version of the protocol."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx2
from mcp.client.session import ClientSession, IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    UNSUPPORTED_PROTOCOL_VERSION,
    EmptyResult,
    Implementation,
    LoggingMessageNotificationParams,
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ServerCapabilities,
    SetLevelRequest,
    SetLevelRequestParams,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from services.chassis.egress.secrets import Scrub
from services.chassis.suite import SUITE
from services.chassis.telling import Logged, Report
from services.tool_registry.adapters.mcp.bounds import TEXT
from services.tool_registry.adapters.mcp.dispatch import Dispatch
from services.tool_registry.adapters.mcp.http import Guarded
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.adapters.mcp.stdio import Program, ProgramFailed, program
from services.tool_registry.domain.server import Command, Server
from services.tool_registry.ports import Secrets

S = TypeVar("S", bound="Session")
OLDEST: Final = "2025-03-26"
"""Of the protocols that are spoken: the first with streamable HTTP."""
LEVEL: Final = "info"
_CHANGES: Final = (
    ToolListChangedNotification,
    PromptListChangedNotification,
    ResourceListChangedNotification,
)

hearing: ContextVar[Report | None] = ContextVar("mcp_hearing", default=None)
"""Who hears what a server logs during a request."""


class OwnSuite(Exception):
    """The server is the edge of this suite. The message says what to do."""


class NotSpoken(Exception):
    """The server speaks no version that is spoken here. The message says which it does."""


@dataclass
class Ear:
    """Hears what a server says unasked."""

    dispatch: Dispatch
    changed: Callable[[], None]
    """Called when it says that its lists have."""
    running: list[Report] = field(default_factory=list)
    """Who hears of the calls under way."""

    async def heard(self, params: LoggingMessageNotificationParams) -> None:
        """Let the call it belongs to hear it. A program does not say which that is; it is the only
        one then, or nobody's."""
        report = hearing.get() or (self.running[0] if len(self.running) == 1 else None)
        if report is not None:
            text = params.data if isinstance(params.data, str) else str(params.data)
            report(Logged(params.level, self.dispatch.scrub.beginning(text, TEXT)))

    async def told(self, message: IncomingMessage) -> None:
        """Since 2026-07-28 changes come to those who listen."""
        if isinstance(message, _CHANGES) and self.dispatch.version not in MODERN_PROTOCOL_VERSIONS:
            self.changed()


@dataclass
class Session:
    """What can be asked of a server."""

    client: ClientSession
    dispatch: Dispatch
    ear: Ear
    program: Program | None = None
    hears_changes: bool = False
    """Whether the server says when its lists change."""

    @property
    def version(self) -> str:
        """The protocol that is spoken."""
        return self.dispatch.version

    @property
    def is_modern(self) -> bool:
        """Whether it is stateless: 2026-07-28 or newer."""
        return self.version in MODERN_PROTOCOL_VERSIONS

    @property
    def info(self) -> Implementation | None:
        """What the server calls itself."""
        return self.client.server_info

    @property
    def capabilities(self) -> ServerCapabilities:
        """What the server has."""
        return self.client.server_capabilities or ServerCapabilities()

    async def hear(self, changed: Callable[[], None]) -> bool:
        """Tell of changes of the lists until the server ends that; false if it never began."""
        has = self.capabilities
        tools = bool(has.tools and has.tools.list_changed)
        prompts = bool(has.prompts and has.prompts.list_changed)
        resources = bool(has.resources and has.resources.list_changed)
        if not self.is_modern or not (tools or prompts or resources):
            return False
        listening = listen(
            self.client,
            tools_list_changed=tools,
            prompts_list_changed=prompts,
            resources_list_changed=resources,
        )
        try:
            async with listening as subscription:
                self.hears_changes = True
                async for _ in subscription:
                    changed()
        except (MCPError, SubscriptionLost, TimeoutError, ValidationError):
            pass
        began, self.hears_changes = self.hears_changes, False
        return began


@asynccontextmanager
async def session(
    tenant: str,
    server: Server,
    outside: Outside,
    changed: Callable[[], None],
    kind: type[S],
) -> AsyncIterator[S]:
    """A session, of this kind, with a server, until the context is left.

    `changed` is called when a server says, without being listened to, that its lists have.

    Raises whatever is wrong with the server.
    """
    async with AsyncExitStack() as stack:
        running = None
        if server.command is None:
            scrub, streams = await _over_http(stack, tenant, server, outside)
        else:
            environment = await _environment(tenant, server.command, outside.secrets)
            scrub = Scrub(environment.values())
            line = [server.command.program, *server.command.arguments]
            all_variables = {**server.command.environment, **environment}
            started = program(line, all_variables, scrub, outside.turns)
            running, streams = await stack.enter_async_context(started)
        dispatch = Dispatch(*streams, scrub, outside.bounds)
        ear = Ear(dispatch, changed)
        client = ClientSession(
            dispatcher=dispatch,
            read_timeout_seconds=outside.bounds.request_seconds,
            logging_callback=ear.heard,
            message_handler=ear.told,
            client_info=Implementation(name="runplane", version=version("runplane")),
        )
        await stack.enter_async_context(client)
        found = kind(client, dispatch, ear, running)
        try:
            await _agree(found)
        except (MCPError, ValidationError, NotSpoken):
            if running is not None:
                await running.settled()
                check(running, scrub)
            raise
        _check_other(found, outside.suite)
        yield found


def check(running: Program, scrub: Scrub) -> None:
    """Raises `ProgramFailed` if anything is known against a program."""
    if running.problem:
        raise ProgramFailed(scrub.text(running.problem))


async def _over_http(
    stack: AsyncExitStack, tenant: str, server: Server, outside: Outside
) -> tuple[Scrub, tuple[Any, Any]]:
    headers = {"accept-encoding": "identity"}
    secrets = []
    if server.secret:
        secrets = [await outside.secrets.get(tenant, server.secret)]
        headers["authorization"] = f"Bearer {secrets[0]}"
    seconds = server.timeout.total_seconds()
    transport = Guarded(outside.egress.transport(), seconds, outside.turns)
    http = await stack.enter_async_context(
        httpx2.AsyncClient(transport=transport, headers=headers, trust_env=False)
    )
    streams = await stack.enter_async_context(
        streamable_http_client(server.url, http_client=http, max_sse_event_size=None)
    )
    return Scrub(secrets), streams


async def _environment(tenant: str, command: Command, secrets: Secrets) -> Mapping[str, str]:
    return {
        variable: await secrets.get(tenant, name)
        for variable, name in command.secret_environment.items()
    }


def _check_other(found: Session, suite: str) -> None:
    """Refuse this suite's own edge: calls of its tools would come back here, and go out again."""
    said = (found.capabilities.extensions or {}).get(SUITE, {}).get("id")
    if suite and said == suite:
        raise OwnSuite("it is this suite's own /mcp, whose tools are here already: delete it")


async def _agree(found: Session) -> None:
    """On 2026-07-28, or the newest version before that the server knows."""
    client = found.client
    try:
        await client.discover()
    except MCPError as error:
        if error.code == CONNECTION_CLOSED:  # It said nothing: the next try may find it there.
            raise
        if error.code == UNSUPPORTED_PROTOCOL_VERSION and _is_newer(error.data):
            raise
        await _initialize(client)
    except (ValidationError, RuntimeError):  # As the SDK says that no version fits.
        await _initialize(client)
    found.dispatch.version = client.protocol_version or ""
    if found.version < OLDEST:
        raise NotSpoken(f"it speaks MCP {found.version}; {OLDEST} or newer is needed")
    if not found.is_modern and found.capabilities.logging is not None:
        level = SetLevelRequest(params=SetLevelRequestParams(level=LEVEL))
        try:
            await client.send_request(level, EmptyResult)
        except (MCPError, ValidationError):
            return  # Then it logs what it likes.


async def _initialize(client: ClientSession) -> None:
    """Agree as versions before 2026-07-28 do."""
    try:
        await client.initialize()
    except RuntimeError as error:  # Of the SDK's own kinds none says it.
        raise NotSpoken(str(error)) from None


def _is_newer(data: object) -> bool:
    """Whether a server says that it speaks only what came after what is spoken here."""
    supported = data.get("supported") if isinstance(data, dict) else None
    if not isinstance(supported, list) or not supported:
        return False
    return all(isinstance(each, str) and each > MODERN_PROTOCOL_VERSIONS[-1] for each in supported)


def quiet() -> None:
    """Let the SDK log nothing: its lines have what servers say, as often as they say it, and those
    of its HTTP client have URLs."""
    for name in ("mcp", "client", "httpx2"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
