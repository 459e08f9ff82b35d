"""What callers can do: list, get and call tools."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Final

from services.chassis.errors import (
    DeadlineExceeded,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Violation,
    invalid,
)
from services.tool_registry.domain import call as calls
from services.tool_registry.domain.call import Call, Outcome
from services.tool_registry.domain.tool import NAME, RESERVED, Definition, ToolFailure
from services.tool_registry.ports import Tool

log = logging.getLogger(__name__)

_NAMES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Limits:
    """What calls may take at most."""

    calls: int
    calls_per_tool: int
    result_bytes: int
    retry_after: timedelta
    """When to come back after being refused."""


class Tools:
    """The tools of this service."""

    def __init__(self, tools: Sequence[Tool], limits: Limits, new_id: Callable[[], str]) -> None:
        """Raises InvalidArgument `INVALID_REQUEST` for a tool that could not be called so."""
        for tool in tools:
            _check_name(tool.definition.name)
        by_name = {tool.definition.name: tool for tool in tools}
        self._tools = {name: by_name[name] for name in sorted(by_name)}
        self._limits = limits
        self._new_id = new_id
        self._running: Counter[str] = Counter()

    def list(self, *, after: str, size: int) -> tuple[Sequence[Definition], bool]:
        """The next `size` tools by name, and whether there are more."""
        rest = [tool.definition for name, tool in self._tools.items() if name > after]
        return rest[:size], len(rest) > size

    def get(self, name: str) -> Definition:
        """One tool.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; that is no tool's name.
            NotFound: `TOOL_NOT_FOUND`.
        """
        return self._find(name).definition

    async def call(self, call: Call) -> Outcome:
        """Call a tool. What the tool could not do is in the outcome.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`, `INVALID_REQUEST`.
            NotFound: `TOOL_NOT_FOUND`.
            ResourceExhausted: `TOOLS_OVERLOADED`, with when to come back.
            DeadlineExceeded: `TOOL_TIMEOUT`.
        """
        tool = self._find(call.name)
        call_id = calls.checked_id(call.id) if call.id else self._new_id()
        if violations := tool.definition.input_schema.violations(call.input):
            raise invalid(*violations, reason="TOOL_INPUT_INVALID")
        with self._place(call.name):
            start = time.perf_counter()
            result, failure = await self._run(tool, call)
            latency = timedelta(seconds=time.perf_counter() - start)
        return Outcome(call_id, tool.definition, latency, result, failure)

    def _find(self, name: str) -> Tool:
        if not NAME.fullmatch(name):
            fix = "send a tool's name: 1 to 64 of A-Z a-z 0-9 _ -"
            raise invalid(Violation("name", "is not a tool's name", fix))
        if (tool := self._tools.get(name)) is None:
            close = get_close_matches(name.lower(), self._tools, 1)
            known = ", ".join(list(self._tools)[:_NAMES_SHOWN])
            raise NotFound(
                "TOOL_NOT_FOUND",
                f"there is no tool {name}",
                tool=name,
                field="name",
                suggested_fix=f"use {close[0]}" if close else f"use one of {known or 'none'}",
            )
        return tool

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

    async def _run(self, tool: Tool, call: Call) -> tuple[object, ToolFailure | None]:
        definition = tool.definition
        allowed = calls.allowed(call, definition)
        timer = asyncio.timeout(allowed.total_seconds())
        try:
            async with timer:
                result = await tool.call(call.input)
            return calls.checked_result(result, definition, self._limits.result_bytes), None
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


def _check_name(name: str) -> None:
    if RESERVED.fullmatch(name) or not NAME.fullmatch(name):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ -; not read_result, nor agent__ at the beginning"
        raise invalid(Violation("name", f"{name[:64]!r} cannot be a tool's name", fix))


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
