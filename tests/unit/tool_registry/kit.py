"""A registry over an event store in memory, with makers that a test decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.chassis.errors import ServiceError
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import EventStore
from services.tool_registry.adapters.client_tool import ClientTools
from services.tool_registry.adapters.toolstore import EventStoreTools
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.line import Line
from services.tool_registry.domain.targets import Client, Http, Mcp, Target
from services.tool_registry.domain.tool import Entry
from services.tool_registry.mapping import tools as mapping
from services.tool_registry.ports import Answer, Invocation, Maker, Tool
from services.tool_registry.usecases.census import Census
from services.tool_registry.usecases.registry import Registry
from services.tool_registry.usecases.shelves import Builtins, Keeping, ToolShelf
from services.tool_registry.usecases.writing import Writer
from tests.unit.tool_registry.fakes import FakeTool

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOCAL = Caller("default", "local")


@dataclass
class Echo:
    """A tool that answers with its own version."""

    entry: Entry
    unavailable: str = ""

    async def call(self, invocation: Invocation) -> Answer:
        """Say it."""
        return Answer(self.entry.definition.version)


@dataclass
class Echoes:
    """Makes such tools, and remembers what it was asked."""

    trouble: str = ""
    refusal: ServiceError | None = None
    made_of: list[Entry] = field(default_factory=list)
    completing: Callable[[Entry], Entry] = lambda entry: entry

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """See `Maker`."""
        if self.refusal is not None:
            raise self.refusal
        return self.completing(entry)

    def made(self, entry: Entry, tenant: str) -> Tool:
        """See `Maker`."""
        self.made_of.append(entry)
        return Echo(entry, self.trouble)

    def unavailable(self, target: Target, tenant: str) -> str:
        """See `Maker`."""
        return self.trouble


class CountedTools(EventStoreTools):
    """Counts how often lines are read."""

    reads = 0

    async def line(self, tenant: str, name: str) -> Line:
        """See `ToolStore`."""
        self.reads += 1
        return await super().line(tenant, name)


async def has_server(tenant: str, source: str) -> bool:
    """One MCP server is registered, `city`."""
    return source == "mcp:city"


@dataclass
class Kit:
    """A registry and what it is made of."""

    registry: Registry
    shelf: ToolShelf
    store: CountedTools
    http: Echoes
    seconds: list[float]

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds[0] += seconds


def kit(
    events: EventStore | None = None, *, tools: int = 100, versions: int = 100, size: int = 10
) -> Kit:
    """A registry, with others on the same events if they are given."""
    http, seconds = Echoes(), [0.0]
    makers: Mapping[type[Target], Maker] = {Client: ClientTools(), Http: http, Mcp: http}
    store = CountedTools(events or MemoryEventStore())
    builtins = Builtins([FakeTool(name="calculator")])
    keeping = Keeping(timedelta(seconds=2), size, lambda: seconds[0])
    shelf = ToolShelf(builtins, store, makers, keeping)
    census = Census(store, tools, clock=lambda: seconds[0])
    writer = Writer(builtins, store, shelf, makers, census, versions, lambda: NOW)
    listed = [mapping.record(mapping.tool(FakeTool(name="calculator").entry))]
    return Kit(Registry(writer, listed, has_server), shelf, store, http, seconds)


def renamed(entry: Entry, **changes: object) -> Entry:
    """The entry with some of its definition changed."""
    return replace(entry, definition=replace(entry.definition, **changes))  # type: ignore[arg-type]
