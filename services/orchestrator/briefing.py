"""What a task begins with, and what it is taken up with again: its terms and its equipment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import NotFound
from services.orchestrator.domain.agent import agent_of, missing, tool_of
from services.orchestrator.domain.catalogue import pinned
from services.orchestrator.domain.events import CallSpec, ClientTool, Spec
from services.orchestrator.domain.named import named
from services.orchestrator.domain.narrowing import narrowed
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.tool import Tool, of_client
from services.orchestrator.equipment import NO_MODEL, Catalogues, Equipment
from services.orchestrator.ports import AgentStore, Model
from services.orchestrator.retries import patiently
from services.orchestrator.router import Router


@dataclass(frozen=True, slots=True)
class Briefings:
    """Looks up what requests and tasks name."""

    catalogues: Catalogues
    agents: AgentStore
    router: Router

    async def first(
        self, request: Request, tenant: str, session_id: str = ""
    ) -> tuple[Request, Equipment]:
        """The terms that a task of this request has in this session, and what it runs with.

        Raises:
            FailedPrecondition: `ROUTE_HAS_NO_MODEL`.
            NotFound: `AGENT_NOT_FOUND`, `MODEL_NOT_FOUND`, `TOOL_NOT_FOUND` or
                `TOOL_VERSION_NOT_FOUND`.
            InvalidArgument: `TOOL_NOT_ALLOWED` or `INVALID_REQUEST`; its agent may not do that.
        """
        if request.call is not None:
            return request, await self._for_call(request.call, tenant)
        instructions = ""
        if request.agent_id:
            agent = await self.agents.newest(tenant, request.agent_id)
            request, instructions = narrowed(request, agent), agent.instructions
        has_tools = request.tool_choice != "none"
        model, routed = await self.router.choose(tenant, request, session_id, has_tools=has_tools)
        equipment = await self.equip(tenant, model, request.tools, has_tools=has_tools)
        if has_tools:
            equipment = with_client_tools(equipment, request.client_tools)
        return request, replace(equipment, instructions=instructions, routed=routed)

    async def check(
        self, tenant: str, model: str, names: Sequence[str], *, has_tools: bool
    ) -> None:
        """Refuse names of a model or a route, of tools and of agents, that nobody has. Raises as
        `equip`, and `NotFound` (`MODEL_NOT_FOUND`)."""
        await self.router.check(model)
        await self.equip(tenant, NO_MODEL, names, has_tools=has_tools)

    async def equip(
        self, tenant: str, model: Model, names: Sequence[str], *, has_tools: bool
    ) -> Equipment:
        """This model, with the tools and agents of these names.

        Raises:
            NotFound: `AGENT_NOT_FOUND`, `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
        """
        if not has_tools:
            return Equipment(model, {})
        agents = await self._among(tenant, names)
        tools, pinned = await self.catalogues.chosen(tenant, names, agents)
        return Equipment(model, tools, pinned=pinned)

    async def again(self, spec: Spec, model_name: str) -> Equipment:
        """What a task that was begun goes on with on this model, whatever has become of its agent
        and its tools."""
        tools = await patiently(lambda: self._tools_again(spec))
        if spec.call is not None:
            return Equipment(NO_MODEL, tools, pinned=spec.pinned)
        model = await patiently(lambda: self.catalogues.models.resolve(model_name))
        equipment = Equipment(model, tools, pinned=spec.pinned)
        if spec.has_tools:
            equipment = with_client_tools(equipment, spec.client_tools)
        if not spec.agent_id:
            return equipment
        version = spec.agent_version
        agent = await patiently(lambda: self.agents.version(spec.tenant, spec.agent_id, version))
        return replace(equipment, instructions=agent.instructions)

    async def _for_call(self, call: CallSpec, tenant: str) -> Equipment:
        tool = await self.catalogues.callable(tenant, call)
        return Equipment(NO_MODEL, {tool.name: tool}, pinned=pinned([tool]))

    async def _tools_again(self, spec: Spec) -> Mapping[str, Tool]:
        """A task's tools, in the order in which its request names them."""
        if not spec.has_tools:
            return {}
        agents = await self._still_among(spec.tenant, spec.tools)
        if spec.pinned is None:  # Begun before versions were pinned.
            return (await self.catalogues.chosen(spec.tenant, spec.tools, agents))[0]
        tools = {**agents, **await self.catalogues.again(spec.tenant, spec.pinned)}
        order = [name for name in (named(each).name for each in spec.tools) if name in tools]
        return {name: tools[name] for name in order} if order else tools

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
