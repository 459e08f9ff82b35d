"""What callers can do with agents."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from services.chassis.errors import Violation, invalid
from services.chassis.eventlog.port import Condition, Key
from services.chassis.starts import check_length, once, owned
from services.orchestrator.briefing import Briefings
from services.orchestrator.domain import agent as ag
from services.orchestrator.domain.agent import Agent
from services.orchestrator.ports import Schemas
from services.orchestrator.usecases.caller import Caller


class Agents:
    """Keeps, shows and changes agents."""

    def __init__(
        self,
        briefings: Briefings,
        schemas: Schemas,
        now: Callable[[], datetime],
    ) -> None:
        self._store = briefings.agents
        self._briefings = briefings
        self._schemas = schemas
        self._now = now

    async def create(self, agent: Agent, caller: Caller, *, key: str, fingerprint: str) -> Agent:
        """Keep a new agent, or return the one that the idempotency key stands for."""
        ag.check(agent)
        check_length(key)
        if not key:
            return await self._create(agent, caller, None)
        owns = owned("agent", caller.subject, key, fingerprint)
        return await once(
            owns,
            lambda: self._store.kept(caller.tenant, owns),
            lambda agent_id: self._store.newest(caller.tenant, agent_id),
            lambda: self._create(agent, caller, owns),
        )

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Agents of the caller's tenant, by id, as lists show them."""
        return await self._store.page(caller.tenant, where, after=after, limit=limit)

    async def get(self, caller: Caller, agent_id: str, version: int | None) -> Agent:
        """An agent in this version, or the newest."""
        ag.check_id(agent_id)
        if version is None:
            return await self._store.newest(caller.tenant, agent_id)
        if version < 1:
            raise invalid(Violation("version", f"is {version}", "send 1 or more, or leave it out"))
        return await self._store.version(caller.tenant, agent_id, version)

    async def update(
        self, caller: Caller, agent_id: str, new: Agent, mask: Collection[str]
    ) -> Agent:
        """Replace these fields of an agent; its newest version then."""
        ag.check_id(agent_id)
        if new.agent_id not in {"", agent_id}:
            fix = "leave it out; an agent keeps its id"
            raise invalid(Violation("agent_id", f"is not {agent_id}", fix))
        agent = await self._store.newest(caller.tenant, agent_id)
        if new.version not in {0, agent.version}:
            raise ag.changed_since(agent_id, new.version)
        updated = ag.updated(agent, new, mask, self._now())
        if updated is agent:
            return agent
        ag.check(updated)
        await self._check_named(caller.tenant, updated, agent)
        await self._store.update(caller.tenant, updated)
        return updated

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """Let there be no such agent any more."""
        ag.check_id(agent_id)
        agent = await self._store.newest(caller.tenant, agent_id)
        await self._store.delete(caller.tenant, replace(agent, update_time=self._now()))

    async def _create(self, agent: Agent, caller: Caller, key: Key | None) -> Agent:
        await self._check_named(caller.tenant, agent, None)
        now = self._now()
        agent = replace(agent, owner=caller.subject, create_time=now, update_time=now)
        return await self._store.create(caller.tenant, agent, key)

    async def _check_named(self, tenant: str, agent: Agent, before: Agent | None) -> None:
        """Refuse what is named anew and is not there, or is no schema."""
        if agent.response_schema is not None:
            self._schemas.check(agent.response_schema, field="response_schema")
        named = (agent.model, tuple(agent.tools))
        if before is None or named != (before.model, tuple(before.tools)):
            await self._briefings.check(tenant, *named, has_tools=bool(agent.tools))
