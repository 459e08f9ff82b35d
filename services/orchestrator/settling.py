"""The tool calls of a run: what each needs before it can be made, and what comes of it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Final

from services.chassis import ids
from services.chassis.errors import ServiceError
from services.chassis.telling import Report, unheard
from services.orchestrator.calls import Caller
from services.orchestrator.delegation import Delegate
from services.orchestrator.domain import asking
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.step import ToolRequest
from services.orchestrator.domain.task import Call
from services.orchestrator.domain.tool import Tool
from services.orchestrator.domain.warned import news
from services.orchestrator.journal import Journal
from services.orchestrator.ports import Schemas
from services.orchestrator.reports import Reports, Spawn
from services.orchestrator.toolports import Returned

EVERY_TOOL: Final = "*"
At = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Settling:
    """Has the calls of one task made, and written down."""

    journal: Journal
    caller: Caller
    delegate: Delegate
    schemas: Schemas
    given: Mapping[str, Tool]
    now: Callable[[], datetime]
    spawn: Spawn

    def asked(
        self, requests: Sequence[ToolRequest], at: tuple[int, int], turn: ev.Turn | None
    ) -> list[ev.Event]:
        """The calls that a turn asks for, and what they need before they can run."""
        last = len(requests) - 1
        events: list[ev.Event] = []
        for index, request in enumerate(requests):
            tool, call_id = self.given.get(request.tool), ids.new("call")
            name, version = request.tool[:64], tool.version if tool else ""
            of = turn if index == last else None
            events.append(ev.ToolCalled(self.now(), *at, call_id, name, version, request.input, of))
        called = [event for event in events if isinstance(event, ev.ToolCalled)]
        calls = [Call(each.call_id, each.tool, each.input, each.tool_version) for each in called]
        return events + self._all_needs(calls, at)

    async def settle(self) -> bool:
        """Make the calls that can be made; whether all have returned. Else the rest waits for a
        word from outside."""
        while unreturned := self.journal.task.unreturned:
            at = self.journal.task.at
            if needs := self._all_needs(unreturned, at):
                await self.journal.append(*needs)
                continue
            ready = [call for call in unreturned if not call.wants]
            if not ready:
                return False
            await self._make(ready)
        return True

    def _all_needs(self, calls: Sequence[Call], at: At) -> list[ev.Event]:
        """What calls have to be asked for now, after a word on tools that are deprecated: the
        registry, which says so of others, is not called for those of the client."""
        needs = [need for call in calls for need in self._needs(call, at)]
        asked = [self.given[each.tool] for each in needs if isinstance(each, ev.InputAsked)]
        told = [
            ("TOOL_DEPRECATED", tool.deprecation or f"{tool.name} is deprecated")
            for tool in asked
            if tool.is_deprecated
        ]
        return [*news(self.journal.task, told, self.now()), *needs]

    def _needs(self, call: Call, at: tuple[int, int]) -> Sequence[ev.Event]:
        """What a call has to be asked for now, if anything."""
        tool, now = self.given.get(call.tool), self.now()
        if call.wants or tool is None:
            return ()
        if call.is_approved is None and self._needs_approval(tool):
            return [ev.ApprovalAsked(now, *at, call.call_id, call.tool)]
        if not tool.is_client:
            return ()
        if violations := self.schemas.violations(tool.input_schema, call.input, field="input"):
            said, fix = violations[0].message, violations[0].suggested_fix
            refused = ev.Failure("INVALID_ARGUMENT", "TOOL_INPUT_INVALID", said, fix)
            return [self._returned(call, at, Returned(None, refused, 0.0))]
        return [ev.InputAsked(now, *at, call.call_id, call.tool)]

    def _needs_approval(self, tool: Tool) -> bool:
        asked_for = self.journal.task.spec.approval_tools
        return tool.requires_approval or tool.name in asked_for or EVERY_TOOL in asked_for

    async def _make(self, calls: Sequence[Call]) -> None:
        at = self.journal.task.at
        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(self._make_one(call, at))
        except ExceptionGroup as failed:  # Results that could not be written: one says it all.
            raise failed.exceptions[0] from None

    async def _make_one(self, call: Call, at: tuple[int, int]) -> None:
        """Call a tool; whatever comes of it is told to the model."""
        tool = self.given.get(call.tool)
        told: Sequence[ev.Event] = ()
        if tool is not None and tool.reports_progress:
            reports = Reports(self.journal, call, at, self.now, self.spawn)
            try:
                returned = await self._made(call, tool, reports.hear)
            finally:
                told = await reports.close()
        else:
            returned = await self._made(call, tool, unheard)
        warned = news(self.journal.task, returned.warnings, self.now())
        await self.journal.append(*told, *warned, self._outcome(call, at, returned))

    async def _made(self, call: Call, tool: Tool | None, report: Report) -> Returned:
        began = perf_counter()
        try:
            if tool is not None and tool.agent_id:
                return await self.delegate.call(call)
            return await self.caller.call(call, report)
        except ServiceError as error:
            return Returned(None, failure(error), (perf_counter() - began) * 1000)

    def _outcome(self, call: Call, at: At, returned: Returned) -> ev.Event:
        """A result; or what the tool asks for first, if somebody can be asked for it; or that the
        task of an agent does."""
        if returned.child_wants:
            known = self.journal.task.call(call.call_id) or call
            child, wants = known.child_task_id, returned.child_wants
            return ev.ChildChanged(self.now(), *at, call.call_id, call.tool, child, wants)
        if (asked := returned.requests) is None:
            return self._returned(call, at, returned)
        able = self.caller.capabilities
        why = asking.refused(call.tool, asked.inputs, asked.state, call.rounds, able)
        if why is not None:
            return self._returned(call, at, Returned(None, why, returned.latency_ms))
        return ev.InputAsked(self.now(), *at, call.call_id, call.tool, asked.inputs, asked.state)

    def _returned(self, call: Call, at: tuple[int, int], returned: Returned) -> ev.Event:
        return ev.ToolReturned(
            self.now(),
            *at,
            call.call_id,
            call.tool,
            call.tool_version,
            returned.output,
            returned.failure,
            round(returned.latency_ms, 3),
            returned.tokens,
            returned.cost_usd,
            returned.content,
        )
