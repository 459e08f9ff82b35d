"""Calls of tools, on behalf of a run."""

from collections.abc import Callable, Mapping

from services.chassis.errors import NotFound, ResourceExhausted, ServiceError
from services.orchestrator.domain.task import Call
from services.orchestrator.domain.tool import Tool
from services.orchestrator.ports import Returned, Tools
from services.orchestrator.retries import ATTEMPTS, backoff, is_passing

GRACE_SECONDS = 1.0  # The registry ends a call at the tool's own timeout; it gets to say so.


class Caller:
    """Calls the tools a task was given."""

    def __init__(
        self, tools: Tools, given: Mapping[str, Tool], seconds_left: Callable[[], float]
    ) -> None:
        self._tools = tools
        self._given = given
        self._seconds_left = seconds_left

    async def call(self, call: Call) -> Returned:
        """Call a tool, again where that may help and does no harm.

        Raises:
            ServiceError: it was refused, or the last attempt failed.
        """
        tool = self._given.get(call.tool)
        if tool is None:
            known = ", ".join(self._given)
            message = f"there is no tool {call.tool}; use one of {known}"
            raise NotFound("TOOL_NOT_FOUND", message, tool=call.tool, known=known)
        attempt = 1
        while True:
            try:
                return await self._once(call, tool)
            except ServiceError as error:
                # A call that may have been taken is repeated only where that does no harm.
                harmless = tool.is_idempotent or isinstance(error, ResourceExhausted)
                if attempt == ATTEMPTS or not harmless or not is_passing(error):
                    raise
                await backoff(attempt, error)
                attempt += 1

    async def _once(self, call: Call, tool: Tool) -> Returned:
        timeout = min(self._seconds_left(), tool.timeout_ms / 1000 + GRACE_SECONDS)
        return await self._tools.call(call.tool, call.input, call_id=call.call_id, timeout=timeout)
