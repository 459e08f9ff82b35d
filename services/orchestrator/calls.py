"""Calls of tools, on behalf of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.chassis.errors import NotFound, ResourceExhausted, ServiceError
from services.chassis.telling import Report, unheard
from services.orchestrator.domain import asking
from services.orchestrator.domain.task import Call
from services.orchestrator.domain.tool import Tool
from services.orchestrator.retries import ATTEMPTS, backoff, is_passing
from services.orchestrator.toolports import Calling, Invocation, Returned

GRACE_SECONDS: Final = 1.0
"""The registry ends a call at the tool's own timeout; it gets to say so."""
UNTRIED: Final = frozenset({"TOOL_CIRCUIT_OPEN"})
"""Of calls that were not let through to their tools."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls the tools a task was given."""

    tools: Calling
    given: Mapping[str, Tool]
    seconds_left: Callable[[], float]
    capabilities: Mapping[str, object] = field(default_factory=lambda: asking.ELICITATION)

    async def call(self, call: Call, report: Report = unheard) -> Returned:
        """Call a tool, again where that may help and does no harm.

        Raises:
            ServiceError: it was refused, or the last attempt failed.
        """
        tool = self.given.get(call.tool)
        if tool is None:
            known = ", ".join(self.given)
            message = f"there is no tool {call.tool}; use one of {known}"
            raise NotFound("TOOL_NOT_FOUND", message, tool=call.tool, known=known)
        attempt = 1
        while True:
            try:
                return await self._once(call, tool, report)
            except ServiceError as error:
                if attempt == ATTEMPTS or not self._may_help(error, tool):
                    raise
                await backoff(attempt, error)
                attempt += 1

    def _may_help(self, error: ServiceError, tool: Tool) -> bool:
        """Whether to call again. A call that may have been taken is repeated only where that does
        no harm, and not later than the task has time."""
        is_untaken = isinstance(error, ResourceExhausted) or error.reason in UNTRIED
        asked = error.retry_after.total_seconds() if error.retry_after else 0.0
        is_harmless = tool.is_idempotent or is_untaken
        return is_harmless and is_passing(error) and asked < self.seconds_left()

    async def _once(self, call: Call, tool: Tool, report: Report) -> Returned:
        if call.tool_version not in ("", tool.version):  # Begun before versions were pinned.
            tool = replace(tool, version=call.tool_version)
        return await self.tools.call(
            Invocation(
                tool,
                call.call_id,
                call.input,
                timeout=min(self.seconds_left(), tool.timeout_ms / 1000 + GRACE_SECONDS),
                idempotency_key=key(call),
                capabilities=self.capabilities,
                responses=call.responses,
                request_state=call.request_state,
                report=report,
            )
        )


def key(call: Call) -> str:
    """Names what a tool is to do, however often it is told to. Once it has its answers it is told
    something else."""
    return f"{call.call_id}-{call.rounds}" if call.rounds else call.call_id
