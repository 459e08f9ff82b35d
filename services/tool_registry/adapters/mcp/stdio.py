"""A server that is a program: started, spoken to line by line, and ended with all that it started.

The SDK's own transport reads lines of any length, logs each line that is no message, and lets the
program write to this process's standard error.
"""

import asyncio
import logging
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from services.chassis.egress.secrets import Scrub
from services.tool_registry.adapters.mcp.bounds import MESSAGE_BYTES, cut
from services.tool_registry.adapters.mcp.messages import excess
from services.tool_registry.adapters.mcp.outside import Turns
from services.tool_registry.adapters.mcp.pace import Pace

log = logging.getLogger(__name__)

_CHUNK: Final = 64 * 1024
_HEAD: Final = 1024
_ID: Final = re.compile(rb'"id"\s*:\s*(\d{1,15}|"[A-Za-z0-9_-]{1,64}")')
_MAX_GARBAGE: Final = 100
_TAIL: Final = 2000
_SHOWN: Final = 200
_LEAVE_SECONDS: Final = 1.0
"""For the program to end by itself, and then for its group to end after SIGTERM."""
_POLL_SECONDS: Final = 0.02


class ProgramFailed(Exception):
    """A program does not do as servers do, or cannot be started. The message says what."""


class Program:
    """A program that runs, as its session sees it."""

    def __init__(self, process: Process, scrub: Scrub, turns: Turns) -> None:
        self._process = process
        self._scrub = scrub
        self._turns = turns
        self.pid = process.pid
        self.ended = asyncio.Event()
        """Set when it writes no more: it has ended, or is to be."""
        self._garbage = 0
        self._first_garbage = ""
        self._tail = b""
        self._is_tail_cut = False
        self._fault = ""

    @property
    def problem(self) -> str:
        """What is known against it; empty if nothing is."""
        if self._fault:
            return self._fault
        said = [self._ending()] if self.ended.is_set() else []
        if self._first_garbage:
            said.append(f"it writes what is no message: {self._first_garbage!r}")
        if self.ended.is_set() and (line := self._last_line()):
            said.append(f"its last words: {line!r}")
        return "; ".join(filter(None, said))

    async def read(self, into: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Hand on its messages until it ends, or writes too much that is none."""
        pace = Pace()
        try:
            async with into:
                async for line in _lines(self._stdout):
                    await pace.step()
                    await self._turns.rest(line)
                    if (message := self._message(line)) is not None:
                        await into.send(message)
                    elif self._garbage > _MAX_GARBAGE:
                        self._fault = f"it writes what is no message: {self._first_garbage!r}"
                        break
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # The session is over.
        finally:
            self.ended.set()

    async def write(self, outgoing: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Send it what the session says."""
        stdin = self._process.stdin
        with suppress(ConnectionError, RuntimeError):
            async with outgoing:
                async for each in outgoing:
                    text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                    if stdin is None or stdin.is_closing():
                        return
                    stdin.write(text.encode() + b"\n")
                    await stdin.drain()

    async def listen(self) -> None:
        """Read its standard error, and keep the end of it."""
        stderr = self._process.stderr
        while stderr is not None and (chunk := await stderr.read(_CHUNK)):
            self._is_tail_cut = self._is_tail_cut or len(self._tail) + len(chunk) > _TAIL
            self._tail = (self._tail + chunk)[-_TAIL:]

    async def settled(self) -> None:
        """Wait a moment for what is known of its end."""
        with anyio.move_on_after(_LEAVE_SECONDS / 2):
            await self.ended.wait()
            await self._gone(_LEAVE_SECONDS)

    async def end(self) -> None:
        """Let it go: close its input, then ask its group to end, then make it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._gone(_LEAVE_SECONDS)
        # Whatever it started is in its group, whose number is its own, and may outlive it.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._signal(number):
                break
            await self._group_gone(_LEAVE_SECONDS)
        await self._gone(_LEAVE_SECONDS)

    @property
    def _stdout(self) -> asyncio.StreamReader:
        stdout = self._process.stdout
        if stdout is None:
            raise OSError("the program has no standard output")
        return stdout

    def _message(self, line: bytes) -> SessionMessage | None:
        """A message, or the error of an answer that is too large; None for anything else."""
        if problem := excess(line):
            return _oversized(line, problem)
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            if line.strip():
                self._garbage += 1
                self._first_garbage = self._first_garbage or self._shown(line)
            return None

    def _ending(self) -> str:
        code = self._process.returncode
        if code is None:
            return "the program closed its output"
        return (
            f"the program was killed by signal {-code}"
            if code < 0
            else (f"the program ended with exit code {code}")
        )

    def _shown(self, line: bytes) -> str:
        enough = 4 * (_SHOWN + self._scrub.longest + 1)  # Bytes of that many characters.
        return self._scrub.beginning(line[:enough].decode(errors="replace").strip(), _SHOWN)

    def _last_line(self) -> str:
        text = self._scrub.text(self._tail.decode(errors="replace"))
        if self._is_tail_cut:  # It may begin with the end of a secret.
            text = text[self._scrub.longest :]
        spoken = [line.strip() for line in text.split("\n") if line.strip()]
        return cut(spoken[-1], _SHOWN) if spoken else ""

    async def _gone(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            # `wait` also waits for its pipes to be closed, which others may hold.
            while self._process.returncode is None:  # noqa: ASYNC110 - no event says it
                await anyio.sleep(_POLL_SECONDS)

    async def _group_gone(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._signal(0):  # noqa: ASYNC110 - no event says it
                await anyio.sleep(_POLL_SECONDS)

    def _signal(self, number: int) -> bool:
        """Whether there was anybody to send it to."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@asynccontextmanager
async def program(
    line: Sequence[str], environment: Mapping[str, str], scrub: Scrub, turns: Turns
) -> AsyncIterator[tuple[Program, tuple[Any, Any]]]:
    """A program and the streams to and from it, until the context is left. What it
    writes that is no message is shown without secrets; `turns` are those of all servers.

    Raises:
        ProgramFailed: it cannot be started.
    """
    process = await _started(line, environment)
    # No awaits until its end is sure.
    running = Program(process, scrub, turns)
    into, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, sent = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(running.read, into)
            group.start_soon(running.write, sent)
            group.start_soon(running.listen)
            try:
                yield running, (incoming, outgoing)
            finally:
                with anyio.CancelScope(shield=True):
                    await running.end()
                group.cancel_scope.cancel()
    finally:
        for stream in (into, incoming, outgoing, sent):
            stream.close()
        _close(process)


async def _started(line: Sequence[str], environment: Mapping[str, str]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *line,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**get_default_environment(), **environment},
            start_new_session=True,
            limit=_CHUNK,
        )
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ProgramFailed(f"it cannot be started: {why}") from None
    except ValueError:  # A secret may hold what no variable can.
        raise ProgramFailed("it cannot be started: its command is not one") from None


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines without their ends. Of one that is too long there is only its beginning, one byte more
    than a message may have."""
    kept = bytearray()
    while chunk := await stream.read(_CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            kept += end[: MESSAGE_BYTES + 1 - len(kept)]
            yield bytes(kept)
            kept.clear()
        kept += rest[: MESSAGE_BYTES + 1 - len(kept)]


def _oversized(line: bytes, problem: str) -> SessionMessage | None:
    """Which request an answer was for stands at its beginning, as all SDKs write it."""
    if (found := _ID.search(line[:_HEAD])) is None:
        return None
    request = found[1].decode()
    error = ErrorData(code=INTERNAL_ERROR, message=problem)
    request_id = int(request) if request.isdecimal() else request.strip('"')
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


def _close(process: Process) -> None:
    """Let go of its pipes, which what it left behind may still hold."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        with suppress(ProcessLookupError, PermissionError):
            transport.close()
