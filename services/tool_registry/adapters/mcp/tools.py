"""Tools of MCP servers."""

from typing import TYPE_CHECKING, Final

from services.chassis.errors import Violation, invalid
from services.tool_registry.adapters.mcp.links import McpLinks
from services.tool_registry.domain.server import State
from services.tool_registry.domain.targets import Mcp, Target
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Answer, Invocation, Tool
from services.tool_registry.usecases.servers import source

if TYPE_CHECKING:
    from services.tool_registry.adapters.mcp.session import Session

_REASON: Final = "TOOL_UNAVAILABLE"


class McpTools:
    """See `Maker`."""

    def __init__(self, links: McpLinks) -> None:
        self._links = links

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """See `Maker`. Servers bring their tools; nobody registers one by hand."""
        if isinstance(entry.target, Mcp) and entry.source == source(entry.target.server):
            return entry
        fix = "register the server: it brings its tools"
        raise invalid(Violation("tool.mcp", "is not for callers to set", fix))

    def made(self, entry: Entry, tenant: str) -> Tool:
        """See `Maker`."""
        if not isinstance(entry.target, Mcp):
            raise TypeError(type(entry.target).__name__)
        self._links.meet(tenant)
        return McpTool(entry, entry.target, tenant, self._links)

    def unavailable(self, target: Target, tenant: str) -> str:
        """See `Maker`."""
        return _unavailable(self._links, tenant, target.server) if isinstance(target, Mcp) else ""


class McpTool:
    """A tool of a server, called over the process's link to it."""

    def __init__(self, entry: Entry, target: Mcp, tenant: str, links: McpLinks) -> None:
        self._entry = entry
        self._target = target
        self._tenant = tenant
        self._links = links

    @property
    def entry(self) -> Entry:
        """See `Tool`."""
        return self._entry

    @property
    def unavailable(self) -> str:
        """See `Tool`."""
        return _unavailable(self._links, self._tenant, self._target.server)

    async def call(self, invocation: Invocation) -> Answer:
        """See `Tool`.

        Raises:
            ToolFailure: `MCP_TOOL_ERROR` is the tool's; `MCP_REFUSED`, `INPUT_NOT_OFFERED`,
                `MCP_ERROR`, `MCP_ANSWER_INVALID` and `TOOL_RESULT_TOO_LARGE` are the server's.
            Unavailable: `TOOL_UNAVAILABLE`; the server cannot be reached, or hung up.
        """

        async def question(session: "Session") -> Answer:
            from services.tool_registry.adapters.mcp import sdk  # noqa: PLC0415 - loaded

            return await sdk.call(session, self._target, self._entry.definition, invocation)

        return await self._links.ask(self._tenant, self._target.server, question, reason=_REASON)


def _unavailable(links: McpLinks, tenant: str, server: str) -> str:
    seen = links.seen(tenant, server)
    if seen.state is not State.UNAVAILABLE:
        return ""
    return f"the MCP server {server} cannot be reached: {seen.problem}"
