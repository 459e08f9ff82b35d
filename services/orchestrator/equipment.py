"""What a task runs with: its model and its tools, as the catalogues have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.chassis.errors import InvalidArgument, NotFound, Violation, invalid
from services.orchestrator.beside import beside
from services.orchestrator.domain.catalogue import Catalogue, pinned
from services.orchestrator.domain.events import CallSpec, Message, Pinned
from services.orchestrator.domain.named import VERSION_FIX, Named, named
from services.orchestrator.domain.prompt import Briefing
from services.orchestrator.domain.routed import Routed
from services.orchestrator.domain.tool import Tool, gone
from services.orchestrator.ports import Model, Models
from services.orchestrator.toolports import Tools

NONE: Final[Mapping[str, Tool]] = {}
NO_MODEL: Final = Model("", "", 0, 0)
"""What a task has that is a call of a tool."""
_MOST_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a task was given when it was accepted, or taken up again."""

    model: Model
    tools: Mapping[str, Tool]
    instructions: str = ""
    history: Sequence[Message] = ()
    pinned: Pinned | None = None
    """Those of the tools that the registry has; None where it has none of them."""
    routed: Routed | None = None
    """How its model was chosen; None where it was named."""

    @property
    def briefing(self) -> Briefing:
        """What of it the model is told."""
        return Briefing(tuple(self.tools.values()), self.instructions, self.history)


@dataclass(frozen=True, slots=True)
class Catalogues:
    """Where equipment comes from."""

    models: Models
    tools: Tools

    async def chosen(
        self, tenant: str, names: Sequence[str], agents: Mapping[str, Tool] = NONE
    ) -> tuple[Mapping[str, Tool], Pinned]:
        """The tools of these names, of which some may be agents, each in the version that is asked
        for; no names mean all that are offered.

        Raises:
            NotFound: `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
            InvalidArgument: `INVALID_REQUEST`; one names no version.
        """
        if not names:
            catalogue = await self.tools.catalogue(tenant)
            return catalogue.offered, catalogue.pinned
        asked = {named(text).name: (named(text), index) for index, text in enumerate(names)}
        tools = await beside(
            [
                partial(self._found, tenant, each, (f"tools[{index}]",) * 2)
                for name, (each, index) in asked.items()
                if name not in agents
            ]
        )
        found = {**agents, **{tool.name: tool for tool in tools}}
        given = {name: found[name] for name in asked}
        return given, pinned(given.values())

    async def callable(self, tenant: str, call: CallSpec) -> Tool:
        """The tool that a task is to be a call of. Raises as `chosen`."""
        asked = Named(call.tool, call.version)
        return await self._found(tenant, asked, ("call.tool", "call.version"))

    async def again(self, tenant: str, of: Pinned) -> Mapping[str, Tool]:
        """Tools in their versions. Those that were deleted since are there, and no call of them
        succeeds."""
        asks = [partial(self._again, tenant, name, version) for name, version in of.versions]
        return {tool.name: tool for tool in await beside(asks)}

    async def check_free(self, tenant: str, names: Sequence[str], *, field: str) -> None:
        """Refuse names that tools of the registry have."""
        found = await beside([partial(self._newest, tenant, name) for name in names])
        for index, (name, tool) in enumerate(zip(names, found, strict=True)):
            if tool is not None:
                fix = "rename it: the tool registry has a tool of this name"
                raise invalid(Violation(f"{field}[{index}].name", f"{name} is taken", fix))

    async def _found(self, tenant: str, asked: Named, fields: tuple[str, str]) -> Tool:
        """A tool; what is wrong is said of these fields, for its name and its version."""
        try:
            return await self.tools.find(tenant, asked.name, asked.version)
        except InvalidArgument as error:
            raise invalid(Violation(fields[1], error.message, VERSION_FIX)) from None
        except NotFound:
            newest = await self._newest(tenant, asked.name) if asked.version else None
            if newest is not None:
                raise _outdated(asked, fields[1], newest.version) from None
            raise _missing(asked, fields[0], await self.tools.catalogue(tenant)) from None

    async def _newest(self, tenant: str, name: str) -> Tool | None:
        try:
            return await self.tools.find(tenant, name)
        except NotFound:
            return None

    async def _again(self, tenant: str, name: str, version: str) -> Tool:
        try:
            return await self.tools.find(tenant, name, version)
        except NotFound:
            return gone(name, version)


def _outdated(asked: Named, field: str, newest: str) -> NotFound:
    return NotFound(
        "TOOL_VERSION_NOT_FOUND",
        f"{field}: {asked.name} has no version {asked.version}; the newest is {newest}",
        field=field,
        tool=asked.name,
        version=asked.version,
        newest=newest,
        suggested_fix=f"use {newest}, or leave the version out for the newest",
    )


def _missing(asked: Named, field: str, catalogue: Catalogue) -> NotFound:
    names = catalogue.names
    listed = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
    fix = f"use some of {listed}, or leave tools out for all"
    if field == "call.tool":
        fix = f"use one of {listed}"
    return NotFound(
        "TOOL_NOT_FOUND",
        f"{field}: there is no tool {asked.name}; there are {listed}",
        field=field,
        tool=asked.name,
        known=listed,
        suggested_fix=fix,
    )
