"""Agents on an event store: a stream for each, whose sequence is the version."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from runplane.orchestrator.v1 import agents_pb2 as pb

from services.chassis.errors import Aborted, AlreadyExists, NotFound
from services.chassis.eventlog.port import (
    Append,
    Attribute,
    Compare,
    Condition,
    EventStore,
    Every,
    Kept,
    Key,
    NewEvent,
    Query,
    Record,
)
from services.orchestrator.adapters.codec import text_of
from services.orchestrator.domain.agent import Agent, changed_since, missing
from services.orchestrator.mapping import agents as mapping

# A stored name is for ever. The body of each is the whole agent as it is from then on.
CREATED: Final = "agent.created.v1"
UPDATED: Final = "agent.updated.v1"
DELETED: Final = "agent.deleted.v1"
RECORD: Final = "agent"
_IS_THERE: Final = Compare("is_deleted", "=", False)


class EventStoreAgents:
    """See `AgentStore`. A version is one read, and a text is stored with its version only."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def newest(self, tenant: str, agent_id: str) -> Agent:
        """See `AgentStore`."""
        found = await self._store.record(tenant, RECORD, agent_id)
        if found is None or found.attributes["is_deleted"]:
            raise missing(agent_id)
        return await self.version(tenant, agent_id, pb.Agent.FromString(found.body).version)

    async def version(self, tenant: str, agent_id: str, version: int) -> Agent:
        """See `AgentStore`."""
        page = await self._store.read(tenant, _stream(agent_id), after=version - 1, limit=1)
        if not page or page[0].sequence != version or page[0].type == DELETED:
            raise NotFound(
                "AGENT_VERSION_NOT_FOUND",
                f"there is no version {version} of an agent {agent_id[:64]}",
                agent_id=agent_id[:64],
                version=str(version),
                field="version",
                suggested_fix="leave version out for the newest",
            )
        return mapping.agent(pb.Agent.FromString(page[0].body))

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `AgentStore`."""
        there = _IS_THERE if where is None else Every((_IS_THERE, where))
        query = Query(tenant, RECORD, there, after, limit, is_descending=False)
        return [(record.id, record.body) for record in await self._store.records(query)]

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `AgentStore`."""
        if (kept := await self._store.kept(tenant, key.scope, key.key)) is None:
            return None
        return replace(kept, stream_id=kept.stream_id.removeprefix(_stream("")))

    async def create(self, tenant: str, agent: Agent, key: Key | None) -> Agent:
        """See `AgentStore`."""
        found = await self._store.record(tenant, RECORD, agent.agent_id)
        if found is not None and not found.attributes["is_deleted"]:
            raise _taken(agent)
        last = 0 if found is None else pb.Agent.FromString(found.body).version
        agent = replace(agent, version=last + 1)
        try:
            await self._append(tenant, CREATED, agent, key)
        except Aborted:
            raise _taken(agent) from None
        return agent

    async def update(self, tenant: str, agent: Agent) -> None:
        """See `AgentStore`."""
        await self._next(tenant, UPDATED, agent)

    async def delete(self, tenant: str, agent: Agent) -> None:
        """See `AgentStore`."""
        await self._next(tenant, DELETED, replace(agent, version=agent.version + 1))

    async def _next(self, tenant: str, name: str, agent: Agent) -> None:
        try:
            await self._append(tenant, name, agent, None)
        except Aborted:
            raise changed_since(agent.agent_id, agent.version - 1) from None

    async def _append(self, tenant: str, name: str, agent: Agent, key: Key | None) -> None:
        is_deleted = name == DELETED
        message = mapping.listed(agent) if is_deleted else mapping.message(agent)
        event = NewEvent(name, agent.update_time, message.SerializeToString())
        body = mapping.listed(agent).SerializeToString()
        record = Record(RECORD, agent.agent_id, _attributes(agent, is_deleted=is_deleted), body)
        stream, expected = _stream(agent.agent_id), agent.version - 1
        await self._store.append(
            Append(tenant, stream, expected, [event], records=[record], key=key)
        )


def _attributes(agent: Agent, *, is_deleted: bool) -> Mapping[str, Attribute]:
    return {
        "is_deleted": is_deleted,
        "agent_id": agent.agent_id,
        "owner": agent.owner,
        "model": agent.model,
        "create_time": text_of(agent.create_time),
        "update_time": text_of(agent.update_time),
        **{f"labels.{name}": value for name, value in agent.labels.items()},
    }


def _stream(agent_id: str) -> str:
    """Apart from those of tasks, whatever an agent is called."""
    return f"agent/{agent_id}"


def _taken(agent: Agent) -> AlreadyExists:
    return AlreadyExists(
        "AGENT_ALREADY_EXISTS",
        f"there is an agent {agent.agent_id} already",
        agent_id=agent.agent_id,
        field="agent_id",
        suggested_fix="choose another agent_id, or PATCH the one that is there",
    )
