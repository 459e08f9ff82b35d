"""Tools of the fixture server that take long, so that clients had better wait for a task."""

import asyncio
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from tests.conformance.plain import text
from tests.conformance.questions import asked, given, question, responses

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]


async def slow_compute(ctx: Context, arguments: Result) -> Result:
    seconds = float(arguments.get("seconds", 0))
    await asyncio.sleep(seconds)
    return text(f"computed for {seconds:g} s: {arguments.get('label', '')}")


async def failing_job(ctx: Context, arguments: Result) -> Result:
    await asyncio.sleep(0.2)
    return {**text("the job failed, as it always does"), "isError": True}


async def protocol_error_job(ctx: Context, arguments: Result) -> Result:
    raise MCPError(INTERNAL_ERROR, "the job broke the server")


async def confirm_delete(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("confirm")) is None:
        message = f"Delete {arguments.get('filename', 'the file')}?"
        return asked(confirm=question(message, "confirm", "boolean"))
    return text("deleted" if given(answer, "confirm") is True else "kept")


async def multi_input(ctx: Context, arguments: Result) -> Result:
    answers = responses(ctx)
    if not {"first", "second"} <= answers.keys():
        return asked(
            first=question("The first name?", "name"), second=question("The second?", "name")
        )
    return text(f"{given(answers['first'], 'name')} and {given(answers['second'], 'name')}")


async def with_task(ctx: Context, arguments: Result) -> Result:
    if (answer := responses(ctx).get("user_name")) is None:
        return asked(user_name=question("What is your name?", "name"))
    await asyncio.sleep(0.1)
    return text(f"Hello, {given(answer, 'name')}!")
