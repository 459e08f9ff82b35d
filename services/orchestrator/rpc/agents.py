"""The servicer of agents: unpack, call, pack."""

from functools import partial
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.orchestrator.v1 import agents_pb2 as pb
from runplane.orchestrator.v1 import agents_pb2_grpc as pb_grpc

from services.chassis import filtering
from services.chassis.fingerprint import fingerprint
from services.chassis.paging import Pager
from services.orchestrator.mapping import agents as mapping
from services.orchestrator.rpc.caller import caller, idempotency_key
from services.orchestrator.usecases.agents import Agents


class AgentServicer(pb_grpc.AgentServiceServicer):
    """`Agents` over gRPC."""

    def __init__(self, agents: Agents, pager: Pager) -> None:
        self._agents = agents
        self._pager = pager

    async def CreateAgent(
        self, request: pb.CreateAgentRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Agent:
        """Keep a new agent."""
        key = request.idempotency_key or idempotency_key(context)
        created = await self._agents.create(
            mapping.agent(request.agent),
            caller(context),
            key=key,
            fingerprint=fingerprint(request.agent) if key else "",
        )
        return mapping.message(created)

    async def ListAgents(
        self, request: pb.ListAgentsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.ListAgentsResponse:
        """A page of agents."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._agents.page, caller(context), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListAgentsResponse(agents=map(pb.Agent.FromString, shown), next_page_token=token)

    async def GetAgent(
        self, request: pb.GetAgentRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Agent:
        """An agent, in its newest version or an older one."""
        version = request.version if request.HasField("version") else None
        return mapping.message(await self._agents.get(caller(context), request.agent_id, version))

    async def UpdateAgent(
        self, request: pb.UpdateAgentRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.Agent:
        """Replace fields of an agent."""
        new = mapping.agent(request.agent)
        updated = await self._agents.update(
            caller(context), request.agent_id, new, mapping.mask(request)
        )
        return mapping.message(updated)

    async def DeleteAgent(
        self, request: pb.DeleteAgentRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> Empty:
        """Delete an agent."""
        await self._agents.delete(caller(context), request.agent_id)
        return Empty()
