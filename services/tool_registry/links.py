"""What the use cases of MCP servers need."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from services.tool_registry.domain.server import Asking, Lists, Reply, Seen, Server, Suggestions
from services.tool_registry.domain.tool import Entry
from services.tool_registry.usecases.caller import Caller


class Brought(Protocol):
    """What became of tools that somebody brought."""

    @property
    def outcomes(self) -> Mapping[str, str]:
        """`registered`, `updated`, `unchanged` or `removed`, by the tool's name."""

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why a tool was left out, by its name."""


class Brings(Protocol):
    """Takes tools that come together, as one source's."""

    async def bring(self, caller: Caller, source: str, wanted: Sequence[Entry]) -> Brought:
        """Let a source have these tools and no others."""

    async def take_away(self, caller: Caller, source: str) -> None:
        """Let a source have no tools. Nothing if it has none."""


class ServerStore(Protocol):
    """Registrations, by tenant and namespace."""

    async def find(self, tenant: str, namespace: str) -> Server | None:
        """One."""

    async def page(self, tenant: str, *, after: str, limit: int) -> Sequence[Server]:
        """Some, by namespace."""

    async def add(self, tenant: str, server: Server) -> None:
        """Keep one. Raises AlreadyExists `MCP_SERVER_ALREADY_EXISTS`."""

    async def remove(self, tenant: str, namespace: str, time: datetime) -> None:
        """Forget one. Raises NotFound `MCP_SERVER_NOT_FOUND`."""


class Imports(Protocol):
    """Where the tools of servers go."""

    async def take(self, tenant: str, server: Server, wanted: Sequence[Entry]) -> Brought | None:
        """Let a server have these tools; None if it is registered no more."""


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

    def matching(self, tenant: str, uri: str) -> str | None:
        """The first server, by namespace, with a template that this URI fits; one that is connected
        before one that is not."""
