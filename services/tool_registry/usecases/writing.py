"""Changes of tools, as everything that makes them does: completed, bounded, stored, and seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.chassis.errors import FailedPrecondition, ResourceExhausted
from services.chassis.eventlog.port import Key
from services.chassis.schema import Schema
from services.tool_registry.domain import checks, names
from services.tool_registry.domain.line import Event, Line, taken
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import ToolStore
from services.tool_registry.usecases.census import Census
from services.tool_registry.usecases.shelves import Builtins, Makers, ToolShelf

OBJECT: Final = Schema({"type": "object"}, field="input")


@dataclass(frozen=True, slots=True)
class Writer:
    """What changes are made with."""

    builtins: Builtins
    store: ToolStore
    shelf: ToolShelf
    makers: Makers
    census: Census
    most_versions: int
    now: Callable[[], datetime]

    async def completed(self, entry: Entry, tenant: str) -> Entry:
        """The entry as it is to be kept, or refused; see `Maker.checked`."""
        checks.check(entry)
        entry = await self.makers[type(entry.target)].checked(entry, tenant)
        if not entry.definition.input_schema.document:
            entry = replace(entry, definition=replace(entry.definition, input_schema=OBJECT))
        checks.check_complete(entry)
        return entry

    def check_free(self, name: str) -> None:
        """Refuse the name of a built-in tool, in capitals or not.

        Raises:
            AlreadyExists: `TOOL_ALREADY_EXISTS`.
        """
        if name.lower() in {each.lower() for each in self.builtins.names}:
            raise taken(name, f"choose another name; {name.lower()} is built in")

    def check_room(self, line: Line) -> None:
        """Refuse more versions than there may be. Raises ResourceExhausted."""
        if len(line.releases) >= self.most_versions:
            raise ResourceExhausted(
                "TOO_MANY_TOOL_VERSIONS",
                f"{line.name} has {len(line.releases)} versions; no more are allowed",
                tool=line.name,
                most=str(self.most_versions),
                suggested_fix="delete the tool and register it again",
            )

    async def line(self, tenant: str, name: str) -> Line:
        """The versions of a tool that can be changed.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; that is no tool's name.
            FailedPrecondition: `TOOL_IS_BUILTIN`.
            NotFound: `TOOL_NOT_FOUND`.
        """
        names.check(name)
        if name in self.builtins.names:
            raise FailedPrecondition(
                "TOOL_IS_BUILTIN",
                f"{name} is built in",
                tool=name,
                field="name",
                suggested_fix="register a tool of another name",
            )
        line = await self.store.line(tenant, name)
        if not line.releases:
            raise names.missing(name, await self.store.names(tenant, limit=200))
        return line

    async def write(self, tenant: str, line: Line, event: Event, *, key: Key | None = None) -> Line:
        """Store an event; what `ToolStore.append` says of it."""
        after = await self.store.append(tenant, line, event, key=key)
        self.shelf.saw(tenant, after)
        self.census.changed(tenant, bool(after.releases) - bool(line.releases))
        return after
