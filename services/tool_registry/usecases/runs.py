"""Tools at work: each in a task of its own, so that one that does not end holds up nobody."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from services.chassis.errors import DeadlineExceeded, ServiceError
from services.tool_registry.domain.tool import Definition, ToolFailure
from services.tool_registry.ports import Answer, Invocation, Tool

log = logging.getLogger(__name__)

_END: Final = 0.005
"""How long an answer waits, in seconds, for a tool that was stopped to end."""
_PATIENCE: Final = 1.0
"""After how long it is worth a line in the log that one did not."""


class Runs:
    """Runs tools, and owns those that were stopped and go on all the same."""

    def __init__(self) -> None:
        self._left: set[asyncio.Task[Answer]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what goes on, and wait for it for a while."""
        for task in self._left:
            task.cancel()
        if self._left:
            await asyncio.wait(self._left, timeout=_PATIENCE)

    async def run(self, tool: Tool, invocation: Invocation, ended: Callable[..., None]) -> Answer:
        """What the tool answers within its time. `ended` is called when it is at rest, which may be
        later. Being cancelled stops the tool.

        Raises:
            ToolFailure: what it says itself, or `TOOL_FAILED`.
            DeadlineExceeded: `TOOL_TIMEOUT`.
            ServiceError: what it needs is not there.
        """
        loop, definition = asyncio.get_running_loop(), tool.entry.definition
        over: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(_work(tool, invocation, over))
        timer = loop.call_later(invocation.timeout.total_seconds(), _set, over)
        try:
            await over
            is_late = not task.done()
        finally:
            timer.cancel()
            if task.done():
                ended()
            else:
                task.add_done_callback(ended)
                await self._stop(task, definition.name)
        if is_late:
            raise timed_out(definition, invocation.timeout)
        return _answer(task, definition.name)

    async def _stop(self, task: asyncio.Task[Answer], name: str) -> None:
        self._left.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        asyncio.get_running_loop().call_later(_PATIENCE, _complain, task, name)
        await asyncio.wait((task,), timeout=_END)

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._left.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("tool failed after it was stopped", exc_info=error)


async def _work(tool: Tool, invocation: Invocation, over: asyncio.Future[None]) -> Answer:
    try:
        return await tool.call(invocation)
    finally:
        _set(over)  # Two turns of the loop sooner than a task says itself that it is done.


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _complain(task: asyncio.Task[Answer], name: str) -> None:
    if not task.done():
        log.warning("tool goes on after it was stopped", extra={"tool": name})


def _answer(task: asyncio.Task[Answer], name: str) -> Answer:
    if task.cancelled():  # By itself: nobody has stopped it.
        log.error("tool cancelled itself", extra={"tool": name})
        raise _broken(name)
    try:
        return task.result()
    except (ToolFailure, ServiceError):
        raise
    except Exception:  # Whatever a tool's code does, the service goes on.
        log.exception("tool failed", extra={"tool": name})
        raise _broken(name) from None


def _broken(name: str) -> ToolFailure:
    message = f"{name} failed on the inside; its service's log has the cause"
    return ToolFailure("TOOL_FAILED", message, "try other input or another tool")


def timed_out(definition: Definition, allowed: timedelta) -> DeadlineExceeded:
    """That a tool has had its time."""
    passed_ms = f"{allowed / timedelta(milliseconds=1):.0f}"
    most_ms = f"{definition.timeout / timedelta(milliseconds=1):.0f}"
    return DeadlineExceeded(
        "TOOL_TIMEOUT",
        f"{definition.name} did not end within {passed_ms} ms",
        tool=definition.name,
        timeout_ms=passed_ms,
        suggested_fix=f"allow more time, up to {most_ms} ms, or ask for less",
    )
