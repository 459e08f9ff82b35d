"""What a task begins with, and what it is taken up with again: its terms and its equipment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import NotFound
from services.orchestrator.domain.agent import agent_of, missing, tool_of
from services.orchestrator.domain.events import ClientTool, Spec
from services.orchestrator.domain.narrowing import narrowed
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.tool import Tool, of_client
from services.orchestrator.equipment import Catalogues, Equipment
from services.orchestrator.ports import AgentStore
from services.orchestrator.retries import patiently


@dataclass(frozen=True, slots=True)
class Briefings:
    """Looks up what requests and tasks name."""

    catalogues: Catalogues
    agents: AgentStore

    async def first(self, request: Request, tenant: str) -> tuple[Request, Equipment]:
        """The terms that a task of this request has, and what it runs with.

        Raises:
            NotFound: `AGENT_NOT_FOUND`, `MODEL_NOT_FOUND` or `TOOL_NOT_FOUND`.
            InvalidArgument: `TOOL_NOT_ALLOWED` or `INVALID_REQUEST`; its agent may not do that.
        """
        instructions = ""
        if request.agent_id:
            agent = await self.agents.newest(tenant, request.agent_id)
            request, instructions = narrowed(request, agent), agent.instructions
        equipment = await self.equip(
            tenant, request.model, request.tools, has_tools=request.tool_choice != "none"
        )
        if request.tool_choice != "none":
            equipment = with_client_tools(equipment, request.client_tools)
        return request, replace(equipment, instructions=instructions)

    async def equip(
        self, tenant: str, model: str, names: Sequence[str], *, has_tools: bool
    ) -> Equipment:
        """The model of this name, and the tools and agents of these.

        Raises:
            NotFound: `MODEL_NOT_FOUND`, `TOOL_NOT_FOUND` or `AGENT_NOT_FOUND`.
        """
        agents = await self._among(tenant, names) if has_tools else {}
        return await self.catalogues.equip(model, names, has_tools=has_tools, agents=agents)

    async def again(self, spec: Spec) -> Equipment:
        """What a task that was begun goes on with, whatever has become of its agent."""
        agents = await patiently(lambda: self._still_among(spec.tenant, spec.tools))
        equipment = await self.catalogues.equip_patiently(
            spec.model, spec.tools, has_tools=spec.has_tools, agents=agents
        )
        if spec.has_tools:
            equipment = with_client_tools(equipment, spec.client_tools)
        if not spec.agent_id:
            return equipment
        version = spec.agent_version
        agent = await patiently(lambda: self.agents.version(spec.tenant, spec.agent_id, version))
        return replace(equipment, instructions=agent.instructions)

    async def _among(self, tenant: str, names: Sequence[str]) -> Mapping[str, Tool]:
        """The agents among these tools."""
        found: dict[str, Tool] = {}
        for index, name in enumerate(names):
            if agent_id := agent_of(name):
                try:
                    agent = await self.agents.newest(tenant, agent_id)
                except NotFound:
                    raise missing(agent_id, f"tools[{index}]") from None
                found[name] = tool_of(agent_id, agent.version, agent.description)
        return found

    async def _still_among(self, tenant: str, names: Sequence[str]) -> Mapping[str, Tool]:
        """The same; one that was deleted since is there, and a call of it is refused."""
        found: dict[str, Tool] = {}
        for name in filter(agent_of, names):
            try:
                found |= await self._among(tenant, (name,))
            except NotFound:
                found[name] = tool_of(agent_of(name), 0, "")
        return found


def with_client_tools(equipment: Equipment, clients: Sequence[ClientTool]) -> Equipment:
    """The same, with the tools that the task's client runs itself."""
    if not clients:
        return equipment
    own = {each.name: of_client(each.name, each.description, each.input_schema) for each in clients}
    return replace(equipment, tools={**equipment.tools, **own})
