"""Calls of tools."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.chassis.errors import DeadlineExceeded, ResourceExhausted, ServiceError, invalid
from services.tool_registry.domain import call as calls
from services.tool_registry.domain.call import Call, Outcome
from services.tool_registry.domain.tool import Definition, ToolFailure
from services.tool_registry.ports import Invocation, Shelf, Tool

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What calls may take at most."""

    calls: int
    calls_per_tool: int
    result_bytes: int
    retry_after: timedelta
    """When to come back after being refused."""


class Calls:
    """Calls tools."""

    def __init__(self, shelf: Shelf, limits: Limits, new_id: Callable[[], str]) -> None:
        self._shelf = shelf
        self._limits = limits
        self._new_id = new_id
        self._running: Counter[str] = Counter()

    async def call(self, call: Call) -> Outcome:
        """Call a tool. What the tool could not do is in the outcome.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`, `INVALID_REQUEST`.
            NotFound: `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
            ResourceExhausted: `TOOLS_OVERLOADED`, with when to come back.
            DeadlineExceeded: `TOOL_TIMEOUT`.
        """
        tool = await self._shelf.find(call.tenant, call.name, call.version)
        definition = tool.entry.definition
        call_id = calls.checked_id(call.id) if call.id else self._new_id()
        if violations := definition.input_schema.violations(call.input):
            raise invalid(*violations, reason="TOOL_INPUT_INVALID")
        with self._place(call.name):
            start = time.perf_counter()
            result, failure = await self._run(tool, call, call_id)
            latency = timedelta(seconds=time.perf_counter() - start)
        return Outcome(call_id, definition, latency, result, failure)

    @contextmanager
    def _place(self, name: str) -> Iterator[None]:
        """A place among the calls under way; refused at once when there is none."""
        limits = self._limits
        if self._running.total() >= limits.calls or self._running[name] >= limits.calls_per_tool:
            raise ResourceExhausted(
                "TOOLS_OVERLOADED", f"too many calls of {name} are under way; try later", tool=name
            ).after(limits.retry_after)
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1

    async def _run(self, tool: Tool, call: Call, call_id: str) -> tuple[object, ToolFailure | None]:
        definition = tool.entry.definition
        allowed = calls.allowed(call, definition)
        timer = asyncio.timeout(allowed.total_seconds())
        key = call.idempotency_key or call_id
        try:
            async with timer:
                answer = await tool.call(Invocation(call.input, call.tenant, key, allowed))
            return calls.checked_result(answer.value, definition, self._limits.result_bytes), None
        except ToolFailure as failure:
            return None, failure
        except ServiceError:
            raise
        except Exception as error:  # Whatever a tool's code does, the service goes on.
            if timer.expired() and isinstance(error, TimeoutError):
                raise _timed_out(definition, allowed) from None
            log.exception("tool failed", extra={"tool": definition.name})
            message = f"{definition.name} failed on the inside; its service's log has the cause"
            return None, ToolFailure("TOOL_FAILED", message, "try other input or another tool")


def _timed_out(definition: Definition, allowed: timedelta) -> DeadlineExceeded:
    passed_ms = f"{allowed / timedelta(milliseconds=1):.0f}"
    most_ms = f"{definition.timeout / timedelta(milliseconds=1):.0f}"
    return DeadlineExceeded(
        "TOOL_TIMEOUT",
        f"{definition.name} did not end within {passed_ms} ms",
        tool=definition.name,
        timeout_ms=passed_ms,
        suggested_fix=f"allow more time, up to {most_ms} ms, or ask for less",
    )
