"""Calls of tools."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.chassis.errors import ServiceError
from services.chassis.telling import Report, Told, unheard
from services.tool_registry.domain import asking, fault, result, size
from services.tool_registry.domain import call as calls
from services.tool_registry.domain.call import Call, Outcome, Warned
from services.tool_registry.domain.circuit import Event
from services.tool_registry.domain.refusals import timed_out, unavailable
from services.tool_registry.domain.tool import Entry, ToolFailure
from services.tool_registry.measures import Measures
from services.tool_registry.ports import Answer, Invocation, Shelf, Tool
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.places import Places
from services.tool_registry.usecases.reports import Reports
from services.tool_registry.usecases.runs import Runs


@dataclass(frozen=True, slots=True)
class Limits:
    """What calls may take at most."""

    calls: int
    calls_per_tool: int
    result_bytes: int
    retry_after: timedelta
    """When to come back after being refused."""
    tenant_share: float = 1.0
    """Of the calls at a time, for one tenant."""


class Calls:
    """Calls tools."""

    def __init__(
        self,
        shelf: Shelf,
        limits: Limits,
        circuits: Circuits,
        runs: Runs,
        new_id: Callable[[], str],
    ) -> None:
        self.measures = Measures()
        self._shelf = shelf
        self._circuits = circuits
        self._runs = runs
        self._new_id = new_id
        self._of_tool = limits.calls_per_tool
        self._max_bytes = limits.result_bytes
        self._places = Places(
            total=limits.calls,
            of_tenant=max(1, int(limits.calls * limits.tenant_share)),
            retry_after=limits.retry_after,
        )

    async def call(self, call: Call, report: Report = unheard) -> Outcome:
        """Call a tool. What the tool could not do is in the outcome; so is its default, if it has
        one, when it fails.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`, `INVALID_REQUEST`.
            NotFound: `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
            FailedPrecondition: `TOOL_RUNS_AT_CLIENT`, or what the tool says.
            ResourceExhausted: `TOOLS_OVERLOADED`, with when to come back.
            Unavailable: `TOOL_UNAVAILABLE` or `TOOL_CIRCUIT_OPEN`, with when to come back.
            DeadlineExceeded: `TOOL_TIMEOUT`.
        """
        tool = await self._shelf.find(call.tenant, call.name, call.version)
        entry = tool.entry
        calls.check(call, entry)
        begun = _Begun(entry, call.id or self._new_id(), time.perf_counter())
        ended = "canceled"
        try:
            answer = await self._answered(tool, _invocation(call, begun, report))
            outcome = await self._outcome(begun, answer, call.capabilities)
            ended = "success"
        except (ToolFailure, ServiceError) as error:
            ended = "error"
            return _instead(begun, error)
        finally:
            self.measures.called(entry.definition.name, ended, time.perf_counter() - begun.start)
        return outcome

    async def stream(self, call: Call) -> AsyncGenerator[Told | Outcome, None]:
        """Call a tool; what it tells meanwhile, and then what came of it. Raises as `call` does.
        Closing the stream stops the tool."""
        reports = Reports()
        task = self._runs.begin(self.call(call, reports.take))
        task.add_done_callback(reports.end)
        task.add_done_callback(_read)
        try:
            async with aclosing(reports.passed_on()) as passed_on:
                async for told in passed_on:
                    yield told
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))  # It waits for its tool itself, and not for long.

    async def _answered(self, tool: Tool, invocation: Invocation) -> Answer:
        """What the tool answers, unless it is not worth trying, or there is no place."""
        definition, tenant = tool.entry.definition, invocation.tenant
        if tool.unavailable:
            raise _unavailable(definition.name, tool.unavailable)
        if not invocation.timeout:
            raise timed_out(definition.name, invocation.timeout, definition.timeout)
        key = (tenant, definition.name, definition.version)
        is_trial, event = self._circuits.admit(key), None
        try:
            most = min(definition.max_concurrency or self._of_tool, self._of_tool)
            place = self._places.take(tenant, definition.name, most)
            answer = await self._runs.run(tool, invocation, place)
            event = Event.ANSWERED
        except (ToolFailure, ServiceError) as error:
            event = fault.shown(error, definition, invocation.timeout)
            raise
        finally:
            self._circuits.settle(key, event, is_trial=is_trial)
        return answer

    async def _outcome(
        self, begun: "_Begun", answer: Answer, capabilities: Mapping[str, object] | None
    ) -> Outcome:
        definition, asked = begun.entry.definition, answer.requests
        if asked is not None:
            asking.check(asked.inputs, asked.state, capabilities, definition.name)
            return begun.ended(requests=asked.inputs, state=asked.state)
        value, content = answer.value, answer.content
        if is_large := size.is_large(value, content):
            await asyncio.to_thread(result.check, value, definition, self._max_bytes, content)
        else:
            result.check(value, definition, self._max_bytes, content)
        return begun.ended(result=value, content=content, is_large=is_large)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A call under way."""

    entry: Entry
    id: str
    start: float

    def ended(self, *more: Warned, **fields: Any) -> Outcome:
        """What came of it."""
        latency = timedelta(seconds=time.perf_counter() - self.start)
        warnings = (_deprecation(self.entry), *more) if self.entry.is_deprecated else more
        return Outcome(self.id, self.entry.definition, latency, warnings=warnings, **fields)


def _read(task: asyncio.Task[Outcome]) -> None:
    """Look at how a task ended, or asyncio complains if the stream was closed just then."""
    if not task.cancelled():
        task.exception()


def _invocation(call: Call, begun: _Begun, report: Report) -> Invocation:
    return Invocation(
        call.input,
        call.tenant,
        call.idempotency_key or begun.id,
        calls.allowed(call, begun.entry.definition),
        report,
        call.responses,
        call.state,
        call.capabilities,
    )


def _instead(begun: _Begun, error: ToolFailure | ServiceError) -> Outcome:
    """The tool's default, or the failure. Raises the error, if it is neither's."""
    default = begun.entry.definition.default
    if default is not None and fault.is_defaulted(error):
        warning = fault.warning(error, begun.entry.definition)
        return begun.ended(warning, result=default.value)
    if isinstance(error, ServiceError):
        raise error
    return begun.ended(failure=error)


def _deprecation(entry: Entry) -> Warned:
    message = entry.deprecation or f"{entry.definition.name} is deprecated"
    return Warned("TOOL_DEPRECATED", message)


def _unavailable(name: str, why: str) -> ServiceError:
    fix = "come back after the delay, or use another tool"
    message = f"{name} is not to be had at the moment: {why}"
    return unavailable(name, message, suggested_fix=fix)
