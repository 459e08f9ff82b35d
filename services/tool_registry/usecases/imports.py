"""Tools that come from elsewhere in one go, such as those of an MCP server."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
)
from services.tool_registry.domain import changes
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.line import Deleted, Deprecated, Line, Registered, Updated, taken
from services.tool_registry.domain.tool import Entry
from services.tool_registry.domain.version import FIRST
from services.tool_registry.usecases.writing import Writer

_AT_ONCE: Final = 16
_TRIES: Final = 3
_REFUSED: Final = (AlreadyExists, FailedPrecondition, InvalidArgument, ResourceExhausted)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _End:
    """What became of one tool: an outcome and a version, or why it was left out."""

    outcome: str = ""
    version: str = ""
    why: str = ""


async def bring(writer: Writer, caller: Caller, source: str, wanted: Sequence[Entry]) -> Brought:
    """See `Registry.bring`."""
    import_ = _Import(writer, caller, source)
    named = {entry.definition.name: entry for entry in reversed(wanted)}
    known = await writer.store.names(caller.tenant, limit=writer.census.most, source=source)
    gone = [name for name in known if name not in named]
    more = len(named.keys() - set(known)) - len(gone)
    await writer.census.check_room(caller.tenant, more)
    ends = dict(zip(named, await _each(list(named.values()), import_.bring), strict=True))
    ends |= dict(zip(gone, await _each(gone, import_.remove), strict=True))
    outcomes = {name: end.outcome for name, end in ends.items() if end.outcome}
    if {*outcomes.values()} - {"unchanged"}:  # Others may have seen what there was before.
        known = await writer.store.names(caller.tenant, limit=writer.census.most, source=source)
    return Brought(
        outcomes=outcomes,
        versions={name: end.version for name, end in ends.items() if end.version},
        skipped={name: end.why for name, end in ends.items() if end.why},
        others=[name for name in known if name not in named],
    )


@dataclass(frozen=True, slots=True)
class _Import:
    """One look at a source."""

    writer: Writer
    caller: Caller
    source: str

    async def bring(self, entry: Entry) -> _End:
        """Let a tool be as the source has it."""
        return await self._tried(entry.definition.name, lambda line: self._bring(line, entry))

    async def remove(self, name: str) -> _End:
        """Let a tool that the source no longer has be gone."""
        return await self._tried(name, self._remove)

    async def _tried(self, name: str, change: Callable[[Line], Awaitable[_End]]) -> _End:
        """Do it; again if somebody else did something in between."""
        for _ in range(_TRIES):
            try:
                return await change(await self.writer.store.line(self.caller.tenant, name))
            except Aborted:
                continue
            except _REFUSED as error:
                return _End(why=error.message)
        return _End(why="somebody else changes it all the time")

    async def _bring(self, line: Line, entry: Entry) -> _End:
        tenant = self.caller.tenant
        self.writer.check_free(line.name)
        if line.releases and line.source != self.source:
            raise taken(line.name, "rename it where it comes from, or choose another namespace")
        said = f"{self._mark}{entry.deprecation}" if entry.is_deprecated else ""
        entry = await self.writer.completed(self._own(entry), tenant)
        line, end = await self._kept(line, entry, is_active=not said)
        if not said or all(each.is_deprecated for each in line.releases):
            return end
        await self.writer.write(tenant, line, Deprecated(self.writer.now(), "", said))
        return replace(end, outcome="updated") if end.outcome == "unchanged" else end

    def _own(self, entry: Entry) -> Entry:
        """The first version of a tool, as this source's. Whether it is deprecated is said by its
        line."""
        return replace(
            entry,
            definition=replace(entry.definition, version=FIRST),
            source=self.source,
            owner=self.caller.subject,
            create_time=self.writer.now(),
            is_deprecated=False,
            deprecation="",
        )

    async def _kept(self, line: Line, entry: Entry, *, is_active: bool) -> tuple[Line, _End]:
        """The line with the tool as its newest version, and what became of it."""
        tenant = self.caller.tenant
        if line.last is None:
            line = await self.writer.write(tenant, line, Registered(entry))
            return line, _End("registered", FIRST)
        old = await self.writer.store.entry(tenant, line.name, line.last)
        is_back = is_active and self._has_marked(line)
        if line.releases and not is_back and changes.is_same(old, entry):
            return line, _End("unchanged", line.last.version)
        return await self._follow(line, old, entry)

    async def _follow(self, line: Line, old: Entry, new: Entry) -> tuple[Line, _End]:
        """Store what comes after a version, under a version that says what changed."""
        self.writer.check_room(line)
        version = await asyncio.to_thread(changes.version_after, old, new)
        new = replace(new, definition=replace(new.definition, version=version))
        event = Updated(new) if line.releases else Registered(new)
        outcome = "updated" if line.releases else "registered"
        line = await self.writer.write(self.caller.tenant, line, event)
        return line, _End(outcome, version)

    @property
    def _mark(self) -> str:
        """What a deprecation begins with that this source wants, and nobody else."""
        return f"{self.source}: "

    def _has_marked(self, line: Line) -> bool:
        """Whether this source had the newest version deprecated."""
        newest = line.releases[-1] if line.releases else None
        return newest is not None and (newest.deprecation or "").startswith(self._mark)

    async def _remove(self, line: Line) -> _End:
        if line.releases and line.source == self.source:
            await self.writer.write(self.caller.tenant, line, Deleted(self.writer.now()))
        return _End("removed")


async def _each(
    items: Sequence[Item], do: Callable[[Item], Coroutine[None, None, _End]]
) -> list[_End]:
    """Do something with each, some at a time. Raises the first error there is."""
    ends: list[_End] = []
    for start in range(0, len(items), _AT_ONCE):
        part = items[start : start + _AT_ONCE]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(do(item)) for item in part]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        ends += [task.result() for task in tasks]
    return ends
