"""What a task begins with, and what it is taken up with again: its terms and its equipment."""

from dataclasses import dataclass, replace

from services.orchestrator.domain.events import Spec
from services.orchestrator.domain.narrowing import narrowed
from services.orchestrator.domain.request import Request
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
        equipment = await self.catalogues.equip(
            request.model, request.tools, has_tools=request.tool_choice != "none"
        )
        return request, replace(equipment, instructions=instructions)

    async def again(self, spec: Spec) -> Equipment:
        """What a task that was begun goes on with, whatever has become of its agent."""
        equipment = await self.catalogues.equip_patiently(
            spec.model, spec.tools, has_tools=spec.has_tools
        )
        if not spec.agent_id:
            return equipment
        version = spec.agent_version
        agent = await patiently(lambda: self.agents.version(spec.tenant, spec.agent_id, version))
        return replace(equipment, instructions=agent.instructions)
