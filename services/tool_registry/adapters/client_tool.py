"""Tools that whoever started a task runs: the registry knows them, and never calls them."""

from services.tool_registry.domain.refusals import runs_at_client
from services.tool_registry.domain.targets import Target
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Answer, Invocation


class ClientTools:
    """See `Maker`."""

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """See `Maker`."""
        return entry

    def made(self, entry: Entry, tenant: str) -> "ClientTool":
        """See `Maker`."""
        return ClientTool(entry)

    def unavailable(self, target: Target, tenant: str) -> str:
        """See `Maker`."""
        return ""


class ClientTool:
    """A tool that cannot be called here."""

    unavailable = ""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    async def call(self, invocation: Invocation) -> Answer:
        """Raises FailedPrecondition `TOOL_RUNS_AT_CLIENT`."""
        raise runs_at_client(self.entry.definition.name)
