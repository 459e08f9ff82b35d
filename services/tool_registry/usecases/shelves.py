"""Where tools are, ready to be called."""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from services.chassis.versions import wanted
from services.tool_registry.domain import checks, names
from services.tool_registry.domain.line import Line, Release, missing_version
from services.tool_registry.domain.targets import Target
from services.tool_registry.ports import Maker, Tool, ToolStore
from services.tool_registry.usecases.lately import Lately

_PICKS = 64  # Ranges of one tool whose versions are remembered.
_SUGGESTED = 200  # Names that a misspelt one is held against.

Makers = Mapping[type[Target], Maker]
"""Of every kind that can be registered."""


class Builtins:
    """The tools that every tenant has."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        """Raises what `checks.check_name` does for a tool that could not be called so."""
        for tool in tools:
            checks.check_name(tool.entry.definition.name)
        by_name = {tool.entry.definition.name: tool for tool in tools}
        self._tools = {name: by_name[name] for name in sorted(by_name)}

    @property
    def names(self) -> Collection[str]:
        """Their names, in order."""
        return self._tools.keys()

    def get(self, name: str, version: str = "") -> Tool | None:
        """One of them, if it has a version that will do.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; that is no version.
            NotFound: `TOOL_VERSION_NOT_FOUND`.
        """
        tool = self._tools.get(name)
        if tool is None or not version:
            return tool
        has = tool.entry.definition.version
        if not wanted(version).allows(has):
            raise missing_version(name, version, has)
        return tool

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """See `Shelf`."""
        names.check(name)
        if (tool := self.get(name, version)) is None:
            raise names.missing(name, self._tools)
        return tool


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long and how many tools are kept ready."""

    ttl: timedelta
    """How late changes that were made elsewhere are seen."""
    size: int
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Held:
    """A tool's versions as they were when they were last looked at."""

    line: Line | None = None
    seen_at: float = -math.inf
    picks: dict[str, Release] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def see(self, line: Line, now: float) -> None:
        """These are the versions now; an older look at them changes nothing."""
        if self.line is None or line.sequence >= self.line.sequence:
            if line != self.line:
                self.line, self.picks = line, {}
            self.seen_at = now


def _tenant(key: tuple[str, ...] | tuple[str, str, Release]) -> str:
    return key[0]


class ToolShelf:
    """Built-in tools, and those of each tenant. What was found is kept, ready to be called: a
    change of it is seen at once if it was made here, and a little later if it was made elsewhere.
    """

    def __init__(
        self, builtins: Builtins, store: ToolStore, makers: Makers, keeping: Keeping
    ) -> None:
        self._builtins = builtins
        self._store = store
        self._makers = makers
        self._ttl = keeping.ttl.total_seconds()
        self._clock = keeping.clock
        self._held: Lately[tuple[str, str], _Held] = Lately(keeping.size, owner=_tenant)
        self._tools: Lately[tuple[str, str, Release], Tool] = Lately(keeping.size, owner=_tenant)

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """See `Shelf`."""
        if (builtin := self._builtins.get(name, version)) is not None:
            return builtin
        names.check(name)
        release = await self._release(tenant, name, version)
        return self._tools.get((tenant, name, release)) or await self._made(tenant, name, release)

    def saw(self, tenant: str, line: Line) -> None:
        """A tool's versions were changed here."""
        self._of(tenant, line.name).see(line, self._clock())

    def unavailable(self, tenant: str, target: Target) -> str:
        """Why calls of a tool there would fail at the moment, as far as is known here."""
        return self._makers[type(target)].unavailable(target, tenant)

    async def _release(self, tenant: str, name: str, version: str) -> Release:
        asked = wanted(version)
        held = self._of(tenant, name)
        if self._clock() - held.seen_at >= self._ttl:
            async with held.lock:
                if self._clock() - held.seen_at >= self._ttl:
                    held.see(await self._store.line(tenant, name), self._clock())
        if held.line is None or not held.line.releases:
            self._held.drop((tenant, name))  # Or names that nobody has would push out others.
            suggested = await self._store.names(tenant, limit=_SUGGESTED)
            raise names.missing(name, [*self._builtins.names, *suggested])
        if (known := held.picks.get(version)) is not None:
            return known
        if (found := held.line.picked(asked)) is None:
            raise held.line.missing_version(version)
        if len(held.picks) < _PICKS:
            held.picks[version] = found
        return found

    async def _made(self, tenant: str, name: str, release: Release) -> Tool:
        key = (tenant, name, release)
        async with self._of(tenant, name).lock:
            if (tool := self._tools.get(key)) is not None:
                return tool
            entry = await self._store.entry(tenant, name, release)
            return self._tools.put(key, self._makers[type(entry.target)].made(entry, tenant))

    def _of(self, tenant: str, name: str) -> _Held:
        key = (tenant, name)
        return self._held.get(key) or self._held.put(key, _Held())
