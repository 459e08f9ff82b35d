"""What callers can do with tools, beside calling them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from services.chassis.errors import Aborted, FailedPrecondition, NotFound, Violation, invalid
from services.chassis.eventlog.matching import matches
from services.chassis.eventlog.port import Condition, Key, Record
from services.chassis.starts import check_length, once, owned
from services.chassis.versions import wanted
from services.tool_registry.domain import changes, checks
from services.tool_registry.domain import version as ver
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.line import (
    Deleted,
    Deprecated,
    Line,
    Registered,
    Release,
    Undeprecated,
    Updated,
    taken,
)
from services.tool_registry.domain.targets import Target
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Tool
from services.tool_registry.usecases import imports
from services.tool_registry.usecases.writing import Writer

Follows = Callable[[str, str], Awaitable[bool]]
"""Whether a tenant's source brings its tools by itself: an MCP server that is registered."""


class Registry:
    """Registers, changes and shows tools."""

    def __init__(self, writer: Writer, builtin: Sequence[Record], follows: Follows) -> None:
        """`builtin` is what lists show of the built-in tools, by name."""
        self._writer = writer
        self._store = writer.store
        self._shelf = writer.shelf
        self._builtin = sorted(builtin, key=lambda record: record.id)
        self._follows = follows
        # Of those under way: of two at once each would see what there was before both.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def register(
        self, entry: Entry, caller: Caller, *, key: str = "", fingerprint: str = ""
    ) -> Entry:
        """Keep a new tool, or return the one that the idempotency key stands for."""
        checks.check(entry)
        self._writer.check_free(entry.definition.name)
        check_length(key)
        if not key:
            return await self._register(entry, caller, None)
        owns = owned("tool", caller.subject, key, fingerprint)
        return await once(
            owns,
            lambda: self._store.kept(caller.tenant, owns),
            lambda name: self._registered(caller, name, entry.definition.version),
            lambda: self._register(entry, caller, owns),
        )

    async def update(
        self, caller: Caller, name: str, new: Entry, mask: Sequence[str], version: str
    ) -> Entry:
        """Keep the next version of a tool; the newest one if that changes nothing. `version` may be
        empty, and is made then."""
        if new.definition.name not in {"", name}:
            raise invalid(Violation("tool.name", f"is not {name[:64]}", "leave it out"))
        line = await self._writer.line(caller.tenant, name)
        if line.source:
            raise _imported(line)
        newest = await self._store.entry(caller.tenant, name, line.releases[-1])
        changed = changes.updated(newest, new, mask)
        has = newest.definition.version
        if version in {"", has} and changes.is_same(changed, newest):
            return newest
        changed = await self._next(caller, line, changed, version or _made(has))
        try:
            await self._writer.write(caller.tenant, line, Updated(changed))
        except Aborted:
            raise _conflict(line) from None
        return changed

    async def deprecate(self, caller: Caller, name: str, version: str, message: str) -> Entry:
        """Mark one version, or all that there are; it, or the one that who asks for none gets."""
        checks.check_message(message)
        return await self._mark(caller, name, version, message)

    async def undeprecate(self, caller: Caller, name: str, version: str) -> Entry:
        """Take the mark off one version, or off all; it, or the one that who asks for none gets."""
        return await self._mark(caller, name, version, None)

    async def _mark(self, caller: Caller, name: str, version: str, message: str | None) -> Entry:
        line = await self._writer.line(caller.tenant, name)
        release = _named(line, version)
        if any(each.deprecation != message for each in ([release] if release else line.releases)):
            named, now = release.version if release else "", self._writer.now()
            event = Undeprecated(now, named) if message is None else Deprecated(now, named, message)
            try:
                await self._writer.write(caller.tenant, line, event)
            except Aborted:
                raise _conflict(line) from None
        return await self._version(caller, name, version)

    async def delete(self, caller: Caller, name: str) -> None:
        """Let there be no such tool any more."""
        line = await self._writer.line(caller.tenant, name)
        if line.source and await self._follows(caller.tenant, line.source):
            raise _imported(line)
        try:
            await self._writer.write(caller.tenant, line, Deleted(self._writer.now()))
        except Aborted:
            raise _conflict(line) from None

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Built-in tools and the tenant's, by name, as lists show them."""
        own = await self._store.page(caller.tenant, where, after=after, limit=limit)
        builtin = {
            record.id: record.body
            for record in self._builtin
            if record.id > after and matches(where, record.attributes)
        }
        merged = {**dict(own), **builtin}
        return sorted(merged.items())[:limit]

    async def get(self, caller: Caller, name: str, version: str) -> Tool:
        """A tool in the newest version that a range allows."""
        return await self._shelf.find(caller.tenant, name, version)

    async def versions(
        self, caller: Caller, name: str, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """The versions of a tool, the newest first, as lists show them."""
        for record in self._builtin:
            if record.id == name:
                return [] if after else [(record.id, record.body)]
        line = await self._writer.line(caller.tenant, name)
        return await self._store.versions(caller.tenant, line, after=after, limit=limit)

    def unavailable(self, caller: Caller, target: Target) -> str:
        """Why calls of a tool there would fail at the moment, as far as is known here."""
        return self._shelf.unavailable(caller.tenant, target)

    async def bring(self, caller: Caller, source: str, wanted: Sequence[Entry]) -> Brought:
        """Let these be the tools of a source, in versions that say what changed. What it no longer
        has is deleted. The same tools again change nothing.

        Raises:
            ResourceExhausted: `TOO_MANY_TOOLS`, with nothing changed.
        """
        async with self._turns.setdefault((caller.tenant, source), asyncio.Lock()):
            return await imports.bring(self._writer, caller, source, wanted)

    async def sources(self, tenant: str, besides: Collection[str]) -> Sequence[str]:
        """What brought the tenant's tools, beside these sources."""
        most = self._writer.census.most
        return await self._store.sources(tenant, besides=besides, limit=most)

    async def take_away(self, caller: Caller, source: str) -> None:
        """Delete the tools that a source brought."""
        await self.bring(caller, source, ())

    async def _register(self, entry: Entry, caller: Caller, key: Key | None) -> Entry:
        name, tenant = entry.definition.name, caller.tenant
        line = await self._store.line(tenant, name)
        line.check_free()
        line.check_next(entry.definition.version)
        await self._writer.census.check_room(tenant)
        entry = await self._writer.completed(entry, tenant)
        entry = replace(entry, owner=caller.subject, create_time=self._writer.now())
        try:
            await self._writer.write(tenant, line, Registered(entry), key=key)
        except Aborted:
            raise taken(name, "PATCH the tool that is there, or choose another name") from None
        return entry

    async def _next(self, caller: Caller, line: Line, changed: Entry, version: str) -> Entry:
        """A version that may follow. Raises for one that may not."""
        ver.check(version, "tool.version")
        line.check_next(version)
        self._writer.check_room(line)
        named = replace(changed.definition, version=version)
        changed = await self._writer.completed(replace(changed, definition=named), caller.tenant)
        if (bound := line.bound_by(version)) is not None:
            old = await self._store.entry(caller.tenant, line.name, bound)
            told = asyncio.to_thread(changes.broken, old.definition, changed.definition)
            if breaks := await told:  # Which may take a tenth of a second.
                raise changes.breaking(changed, bound.version, breaks)
        return replace(changed, create_time=self._writer.now(), is_deprecated=False, deprecation="")

    async def _registered(self, caller: Caller, name: str, version: str) -> Entry:
        """What an idempotency key stands for."""
        try:
            return await self._version(caller, name, version)
        except NotFound:
            raise _deleted(name, version) from None

    async def _version(self, caller: Caller, name: str, version: str) -> Entry:
        return (await self._shelf.find(caller.tenant, name, version)).entry


def _made(newest: str) -> str:
    """The version after the newest, for a change that breaks nobody."""
    if ver.is_prerelease(newest):
        fix = "say which version comes next"
        raise invalid(Violation("tool.version", f"is not said after {newest}", fix))
    return ver.after_addition(newest)


def _named(line: Line, version: str) -> Release | None:
    """The release that a version names exactly; None if it names none."""
    if not version:
        return None
    ver.check(version, "version")
    if (found := line.picked(wanted(version))) is None:
        raise line.missing_version(version)
    return found


def _imported(line: Line) -> FailedPrecondition:
    return FailedPrecondition(
        "TOOL_IS_IMPORTED",
        f"{line.name} is brought by {line.source}, which would bring it back",
        tool=line.name,
        source=line.source,
        field="name",
        suggested_fix=f"change or remove it at {line.source}",
    )


def _deleted(name: str, version: str) -> NotFound:
    return NotFound(
        "TOOL_NOT_FOUND",
        f"the idempotency key stands for {name} {version}, which was deleted",
        tool=name,
        version=version,
        field="idempotency_key",
        suggested_fix="send another key to register it anew",
    )


def _conflict(line: Line) -> Aborted:
    return Aborted(
        "TOOL_VERSION_CONFLICT",
        f"somebody else changed {line.name} meanwhile",
        tool=line.name,
        field="name",
        suggested_fix="get the tool again and repeat the change",
    )
