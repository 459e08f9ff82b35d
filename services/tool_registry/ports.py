"""What the use cases need."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.eventlog.port import Condition, Kept, Key
from services.chassis.telling import Report, unheard
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.line import Event, Line, Release
from services.tool_registry.domain.server import Asking, Lists, Reply, Seen, Server, Suggestions
from services.tool_registry.domain.targets import Target
from services.tool_registry.domain.tool import TIMEOUT, Entry


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call, as a tool sees it."""

    arguments: Mapping[str, object]
    """They satisfy the input schema, and are not to be changed."""
    tenant: str = "default"
    idempotency_key: str = ""
    """The same for a call that is repeated."""
    timeout: timedelta = TIMEOUT
    """How long the call may take; it is cancelled then."""
    report: Report = unheard
    responses: Mapping[str, object] = field(default_factory=dict)
    """Answers to what the call before asked for, by name."""
    state: str = ""
    """The state that the call before asked to be given back."""
    capabilities: Mapping[str, object] | None = None
    """What the caller can be asked for, as MCP client capabilities; None: nothing."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What a call asks its caller for, to be made again with the answers."""

    inputs: Mapping[str, object]
    """MCP input requests, by name."""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answered."""

    value: object
    """What the output schema describes."""
    content: Sequence[Mapping[str, object]] = ()
    """The same as MCP content blocks, where the value does not say it all."""
    requests: Requests | None = None
    """Set instead, when it asks for something first."""


class Tool(Protocol):
    """Something that can be called, wherever it runs.

    One contract suite holds for all of them: `tests/contract/tool_registry`.
    """

    @property
    def entry(self) -> Entry:
        """Its contract, and where it runs. The same object each time."""

    @property
    def unavailable(self) -> str:
        """Why calls would fail at the moment, as far as is known here; empty if nothing is."""

    async def call(self, invocation: Invocation) -> Answer:
        """Do it once. Cancelling stops the work. It never keeps the event loop for long.

        Raises:
            ToolFailure: it cannot be done.
            ServiceError: what the tool needs is not there; callers may try again.
        """


class Shelf(Protocol):
    """Where a tenant's tools are, ready to be called."""

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """The tool of this name in the newest version that a range allows; empty for the newest.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; that is no name, or no version.
            NotFound: `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
        """


class Maker(Protocol):
    """Makes tools of one kind of target."""

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """The entry as it is to be kept: completed (schemas from reflection), or refused.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, with fields such as `tool.http.url`, or
                `TARGET_REFUSED`.
            Unavailable: `TARGET_UNAVAILABLE`.
        """

    def made(self, entry: Entry, tenant: str) -> Tool:
        """The tool, ready to be called. Cheap: connections are made at the first call, and
        shared."""

    def unavailable(self, target: Target, tenant: str) -> str:
        """Why calls of a tool there would fail at the moment, as far as is known here; empty if
        nothing is."""


class ToolStore(Protocol):
    """Keeps registered tools. It passes `tests/contract/tool_registry`.

    Every method raises Unavailable `EVENT_STORE_UNAVAILABLE` when the store cannot be reached.
    """

    async def line(self, tenant: str, name: str) -> Line:
        """The versions of a tool; without any if there is no such tool."""

    async def entry(self, tenant: str, name: str, release: Release) -> Entry:
        """A version as it was registered, marked as the release is.

        Raises:
            NotFound: `TOOL_VERSION_NOT_FOUND`.
        """

    async def append(
        self, tenant: str, line: Line, event: Event, *, key: Key | None = None
    ) -> Line:
        """What the line is after this event, which everybody sees from then on.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; the line has gone on meanwhile.
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`; see `kept`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What an idempotency key stands for: `stream_id` is the tool's name."""

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Tools in the version that who asks for none gets, by name: names, and what is shown.

        Fewer than `limit` also where they are more than fit into an answer.
        """

    async def versions(
        self, tenant: str, line: Line, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Versions, the newest first: an id to go on from, and what is shown of each; see `page`
        for how many."""

    async def names(self, tenant: str, *, limit: int, source: str | None = None) -> Sequence[str]:
        """Names of tools, in order; of those that a source brought, if one is given."""

    async def sources(self, tenant: str, *, besides: Collection[str], limit: int) -> Sequence[str]:
        """What brought the tools that there are, beside these sources, in order. So many tools are
        looked at."""


class Secrets(Protocol):
    """What requests prove themselves with. It is asked at each call, and kept nowhere."""

    async def get(self, tenant: str, name: str) -> str:
        """One line of text.

        Raises:
            FailedPrecondition: `SECRET_NOT_FOUND`.
        """


class ServerStore(Protocol):
    """Registrations, by tenant and namespace."""

    async def find(self, tenant: str, namespace: str) -> Server | None:
        """One."""

    async def page(self, tenant: str, *, after: str, limit: int) -> Sequence[Server]:
        """Some, by namespace."""

    async def add(self, tenant: str, server: Server, *, key: Key | None = None) -> None:
        """Keep one.

        Raises:
            AlreadyExists: `MCP_SERVER_ALREADY_EXISTS`; `IDEMPOTENCY_KEY_TAKEN`, see `kept`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What an idempotency key stands for: `stream_id` is the server's namespace."""

    async def change(self, tenant: str, old: Server, new: Server, time: datetime) -> None:
        """Keep one in the place of what it was. Raises Aborted `MCP_SERVER_CONFLICT`."""

    async def remove(self, tenant: str, namespace: str, time: datetime) -> None:
        """Forget one. Raises NotFound `MCP_SERVER_NOT_FOUND`."""


class Imports(Protocol):
    """Where the tools of servers go."""

    async def take(self, tenant: str, server: Server, wanted: Sequence[Entry]) -> Brought | None:
        """Let a server have these tools; None if it is registered no more, or is another now."""

    async def sweep(self, tenant: str) -> None:
        """Take away the tools of servers that are registered no more."""


class Links(Protocol):
    """This process's links to servers."""

    def hold(self, tenant: str, server: Server) -> None:
        """Have a link to it, as it is registered now."""

    def drop(self, tenant: str, namespace: str) -> None:
        """Hang up."""

    def seen(self, tenant: str, namespace: str) -> Seen:
        """What is known of it here."""

    async def settled(self, tenant: str, namespace: str, within: timedelta) -> None:
        """Wait until it was reached, or could not be; no longer than this."""

    async def refresh(self, tenant: str, namespace: str) -> None:
        """Take its lists now. Raises Unavailable `MCP_SERVER_UNAVAILABLE`."""

    async def lists(self, tenant: str) -> Mapping[str, tuple[Server, Lists]]:
        """What the tenant's servers said last, by namespace, in its order."""

    async def read(self, tenant: str, namespace: str, uri: str, asking: Asking) -> Reply:
        """Ask for a resource.

        Raises:
            NotFound: `RESOURCE_NOT_FOUND`.
            Unavailable: `MCP_SERVER_UNAVAILABLE`.
            ResourceExhausted: `RESOURCE_TOO_LARGE`.
        """

    async def prompt(
        self,
        tenant: str,
        namespace: str,
        name: str,
        arguments: Mapping[str, str],
        asking: Asking,
    ) -> Reply:
        """Ask for a prompt.

        Raises:
            NotFound: `PROMPT_NOT_FOUND`.
            InvalidArgument: `PROMPT_ARGUMENTS_INVALID`.
            Unavailable: `MCP_SERVER_UNAVAILABLE`.
            ResourceExhausted: `RESOURCE_TOO_LARGE`.
        """

    async def complete(
        self,
        tenant: str,
        namespace: str,
        reference: Mapping[str, str],
        argument: tuple[str, str],
        context: Mapping[str, str],
    ) -> Suggestions:
        """Ask for values. Raises Unavailable `MCP_SERVER_UNAVAILABLE`."""

    async def matching(self, tenant: str, uri: str) -> str | None:
        """The first server, by namespace, with a template that this URI fits; one that is connected
        before one that is not."""
