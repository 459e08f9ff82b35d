"""Tools at work: each in a task of its own, so that one that does not end holds up nobody.

Built-in tools run in their callers' tasks.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar

from services.chassis.errors import DeadlineExceeded, ServiceError
from services.tool_registry.domain.refusals import timed_out
from services.tool_registry.domain.targets import Builtin
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Answer, Invocation, Tool

log = logging.getLogger(__name__)

_END: Final = 0.005
"""How long an answer waits, in seconds, for a tool that was stopped to end."""
_PATIENCE: Final = 1.0
"""After how long it is worth a line in the log that one did not."""

_Result = TypeVar("_Result")


class Runs:
    """Runs tools, and owns the tasks of calls: whoever waits for one stops it when it leaves, and
    what goes on all the same is stopped with this context.

    No `TaskGroup`: it would end all calls with the first that fails, and wait for ever for a tool
    that does not end.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop what goes on, and wait for it for a while."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)

    def begin(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """A task that is known here until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, tool: Tool, invocation: Invocation, ended: Callable[..., None]) -> Answer:
        """What the tool answers within its time. `ended` is called when it is at rest, which may be
        later. Being cancelled stops the tool.

        Raises:
            ToolFailure: what it says itself, or `TOOL_FAILED`.
            DeadlineExceeded: `TOOL_TIMEOUT`.
            ServiceError: what it needs is not there.
        """
        work = _at_once if isinstance(tool.entry.target, Builtin) else self._in_a_task
        try:
            return await work(tool, invocation, ended)
        except (ToolFailure, ServiceError):
            raise
        except Exception:  # Whatever a tool's code does, the service goes on.
            name = tool.entry.definition.name
            log.exception("tool failed", extra={"tool": name})
            raise _broken(name) from None

    async def _in_a_task(
        self, tool: Tool, invocation: Invocation, ended: Callable[..., None]
    ) -> Answer:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        task = self.begin(_work(tool, invocation, over))
        task.add_done_callback(lambda _: _set(over))  # One that is stopped first never begins.
        timer = loop.call_later(invocation.timeout.total_seconds(), _set, over)
        try:
            await over
            is_late = not task.done()
        finally:
            timer.cancel()
            if task.done():
                ended()
                _look(task)
            else:
                task.add_done_callback(ended)
                await _stop(task, tool.entry.definition.name)
        if is_late:
            raise _timed_out(tool, invocation)
        if task.cancelled():  # By itself, or with the service.
            raise RuntimeError("the tool was cancelled, and not by its caller")
        return task.result()


async def _at_once(tool: Tool, invocation: Invocation, ended: Callable[..., None]) -> Answer:
    """A tool of this service's own takes microseconds; a task would take more than that."""
    timer = asyncio.timeout(invocation.timeout.total_seconds())
    try:
        async with timer:
            return await tool.call(invocation)
    except TimeoutError:
        if not timer.expired():
            raise
        raise _timed_out(tool, invocation) from None
    finally:
        ended()


async def _work(tool: Tool, invocation: Invocation, over: asyncio.Future[None]) -> Answer:
    try:
        return await tool.call(invocation)
    finally:
        _set(over)  # Two turns of the loop sooner than a task says itself that it is done.


async def _stop(task: asyncio.Task[Answer], name: str) -> None:
    task.add_done_callback(_tell)
    task.cancel()
    asyncio.get_running_loop().call_later(_PATIENCE, _complain, task, name)
    await asyncio.wait((task,), timeout=_END)


def _tell(task: asyncio.Task[Answer]) -> None:
    if (error := _look(task)) is not None:
        log.info("tool failed after it was stopped", exc_info=error)


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _look(task: asyncio.Task[Answer]) -> BaseException | None:
    """How a task failed. Nobody may be there any more to ask, of which asyncio would complain."""
    return None if task.cancelled() else task.exception()


def _complain(task: asyncio.Task[Answer], name: str) -> None:
    if not task.done():
        log.warning("tool goes on after it was stopped", extra={"tool": name})


def _broken(name: str) -> ToolFailure:
    message = f"{name} failed on the inside; its service's log has the cause"
    return ToolFailure("TOOL_FAILED", message, "try other input or another tool")


def _timed_out(tool: Tool, invocation: Invocation) -> DeadlineExceeded:
    definition = tool.entry.definition
    return timed_out(definition.name, invocation.timeout, definition.timeout)
