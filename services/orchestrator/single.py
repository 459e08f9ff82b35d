"""A task that is one call of a tool: no model is asked, and the tool's result is the answer."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis.errors import Violation, invalid
from services.orchestrator.calls import GRACE_SECONDS
from services.orchestrator.domain import asking
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.step import ToolRequest
from services.orchestrator.domain.task import Call, Task
from services.orchestrator.domain.tool import Tool
from services.orchestrator.kit import Kit
from services.orchestrator.ports import Schemas

AT = (1, 1)


def check(schemas: Schemas, call: ev.CallSpec, tool: Tool) -> None:
    """Refuse what the tool would refuse, and what is not asked for it.

    Raises:
        InvalidArgument: `TOOL_INPUT_INVALID`, or `INVALID_REQUEST`.
    """
    if violations := schemas.violations(tool.input_schema, call.input, field="call.input"):
        raise invalid(*violations, reason="TOOL_INPUT_INVALID")
    if call.requests is None:
        if call.state:
            fix = "send call.input_requests as well, or leave it out"
            raise invalid(Violation("call.request_state", "comes without what is asked", fix))
        return
    able = asking.ELICITATION if call.capabilities is None else call.capabilities
    if (why := asking.refused(call.tool, call.requests, call.state, 0, able)) is not None:
        raise invalid(Violation("call.input_requests", why.message, "call the tool anew"))


def says_how_long(request: Request) -> bool:
    """Whether a request bounds how long its task may take."""
    return request.timeout_ms is not None or request.duration_ms is not None


def duration(tool: Tool) -> timedelta:
    """How long a call may take: as long as the tool says of itself, and it gets to say that it took
    longer."""
    return timedelta(seconds=tool.timeout_ms / 1000 + 2 * GRACE_SECONDS)


async def go_on(kit: Kit, call: ev.CallSpec) -> None:
    """Ask for the call; or end the task with what came of it."""
    if calls := [call for step in kit.task.steps for call in step.calls]:
        await kit.journal.append(*_ends(kit.task, calls[0], kit))
        return
    requests = [ToolRequest(call.tool, call.input)]
    events = kit.settling.asked(requests, AT, None)
    if call.requests is not None:
        events = [*_as_asked(events, call, kit.world.now())]
    await kit.journal.append(*events)


def _as_asked(events: Sequence[ev.Event], call: ev.CallSpec, now: datetime) -> Iterator[ev.Event]:
    """The call, as if the tool had been called by it and had asked. What else it needs is seen to
    once the answers are there."""
    for each in events:
        if isinstance(each, ev.ToolCalled):
            yield each
            yield ev.InputAsked(now, *AT, each.call_id, each.tool, call.requests, call.state)


def _ends(task: Task, call: Call, kit: Kit) -> list[ev.Event]:
    now = kit.world.now()
    if (fault := call.failure) is not None:
        code = "FAILED_PRECONDITION" if fault.code == "UNKNOWN" else fault.code
        message = f"the tool {call.tool} failed: {fault.message}"
        return [ev.Failed(now, replace(fault, code=code, message=message))]
    return [ev.Answered(now, *task.at, _text(call.output), call.output, None), ev.Completed(now)]


def _text(output: object) -> str:
    """A result as people read it; of a large one the beginning."""
    if isinstance(output, Large):
        return output.excerpt
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
