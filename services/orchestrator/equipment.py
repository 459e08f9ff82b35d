"""What a task runs with: its model and its tools, as the catalogues have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import InvalidArgument, NotFound, Violation, invalid
from services.orchestrator.domain.catalogue import Catalogue, pinned
from services.orchestrator.domain.events import CallSpec, Message, Pinned
from services.orchestrator.domain.named import VERSION_FIX, Named, named
from services.orchestrator.domain.prompt import Briefing
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
        catalogue = await self.tools.catalogue(tenant)
        if not names:
            return catalogue.offered, catalogue.pinned
        found: dict[str, Tool] = {}
        for index, text in enumerate(names):
            asked, field = named(text), f"tools[{index}]"
            tool = agents.get(asked.name)
            if tool is None and not asked.version:
                tool = catalogue.known.get(asked.name)
            found[asked.name] = tool or await self._found(tenant, asked, (field, field))
        return found, pinned(found.values())

    async def callable(self, tenant: str, call: CallSpec) -> Tool:
        """The tool that a task is to be a call of. Raises as `chosen`."""
        asked = Named(call.tool, call.version)
        return await self._found(tenant, asked, ("call.tool", "call.version"))

    async def again(self, tenant: str, of: Pinned) -> Mapping[str, Tool]:
        """Tools in their versions. Those that were deleted since are there, and no call of them
        succeeds."""
        return {name: await self._again(tenant, name, version) for name, version in of.versions}

    async def check_free(self, tenant: str, names: Sequence[str], *, field: str) -> None:
        """Refuse names that tools of the registry have."""
        known = (await self.tools.catalogue(tenant)).known
        for index, name in enumerate(names):
            if name in known:
                fix = "rename it: the tool registry has a tool of this name"
                raise invalid(Violation(f"{field}[{index}].name", f"{name} is taken", fix))

    async def _found(self, tenant: str, asked: Named, fields: tuple[str, str]) -> Tool:
        """A tool; what is wrong is said of these fields, for its name and its version."""
        try:
            return await self.tools.find(tenant, asked.name, asked.version)
        except InvalidArgument as error:
            raise invalid(Violation(fields[1], error.message, VERSION_FIX)) from None
        except NotFound:
            catalogue = await self.tools.catalogue(tenant)
            raise _missing(asked, fields, catalogue) from None

    async def _again(self, tenant: str, name: str, version: str) -> Tool:
        try:
            return await self.tools.find(tenant, name, version)
        except NotFound:
            return gone(name, version)


def _missing(asked: Named, fields: tuple[str, str], catalogue: Catalogue) -> NotFound:
    if (newest := catalogue.known.get(asked.name)) is not None:
        return NotFound(
            "TOOL_VERSION_NOT_FOUND",
            f"{fields[1]}: {asked.name} has no version {asked.version}; the newest is"
            f" {newest.version}",
            field=fields[1],
            tool=asked.name,
            version=asked.version,
            newest=newest.version,
            suggested_fix=f"use {newest.version}, or leave the version out for the newest",
        )
    names = sorted(catalogue.known)
    listed = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
    fix = f"use some of {listed}, or leave tools out for all"
    if fields[0] == "call.tool":
        fix = f"use one of {listed}"
    return NotFound(
        "TOOL_NOT_FOUND",
        f"{fields[0]}: there is no tool {asked.name}; there are {listed}",
        field=fields[0],
        tool=asked.name,
        known=listed,
        suggested_fix=fix,
    )
