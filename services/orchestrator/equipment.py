"""What a task runs with: its model and its tools, as the catalogues have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import NotFound, Violation, invalid
from services.orchestrator.domain.events import Message
from services.orchestrator.domain.prompt import Briefing
from services.orchestrator.domain.tool import Tool
from services.orchestrator.ports import Model, Models, Tools
from services.orchestrator.retries import patiently

NONE: Final[Mapping[str, Tool]] = {}


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a task was given when it was accepted, or taken up again."""

    model: Model
    tools: Mapping[str, Tool]
    instructions: str = ""
    history: Sequence[Message] = ()

    @property
    def briefing(self) -> Briefing:
        """What of it the model is told."""
        return Briefing(tuple(self.tools.values()), self.instructions, self.history)


@dataclass(frozen=True, slots=True)
class Catalogues:
    """Where equipment comes from."""

    models: Models
    tools: Tools

    async def equip(
        self,
        model: str,
        names: Sequence[str],
        *,
        has_tools: bool,
        agents: Mapping[str, Tool] = NONE,
    ) -> Equipment:
        """The model of this name and the tools of these, of which some may be agents; no names mean
        all tools of the registry.

        Raises:
            NotFound: `MODEL_NOT_FOUND` or `TOOL_NOT_FOUND`.
        """
        found = await self.models.resolve(model)
        return Equipment(found, await self._chosen(names, agents) if has_tools else {})

    async def equip_patiently(
        self,
        model: str,
        names: Sequence[str],
        *,
        has_tools: bool,
        agents: Mapping[str, Tool] = NONE,
    ) -> Equipment:
        """As `equip`, again while a service is away."""
        return await patiently(lambda: self.equip(model, names, has_tools=has_tools, agents=agents))

    async def _chosen(self, names: Sequence[str], agents: Mapping[str, Tool]) -> Mapping[str, Tool]:
        known = (
            {**await self.tools.catalogue(), **agents} if agents else await self.tools.catalogue()
        )
        for index, name in enumerate(names):
            if name not in known:
                listed = ", ".join(sorted(known))
                raise NotFound(
                    "TOOL_NOT_FOUND",
                    f"tools[{index}]: there is no tool {name}; there are {listed}",
                    field=f"tools[{index}]",
                    tool=name,
                    known=listed,
                    suggested_fix=f"use some of {listed}, or leave tools out for all",
                )
        return {name: known[name] for name in names} if names else known

    async def check_free(self, names: Sequence[str], *, field: str) -> None:
        """Refuse names that tools of the registry have."""
        known = await self.tools.catalogue()
        for index, name in enumerate(names):
            if name in known:
                fix = "rename it: the tool registry has a tool of this name"
                raise invalid(Violation(f"{field}[{index}].name", f"{name} is taken", fix))
