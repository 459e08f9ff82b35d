"""Children that are started, watched, restarted and stopped."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

START_TIMEOUT: Final = timedelta(seconds=120)
POLL_SECONDS: Final = 0.05
MAX_LINE_BYTES: Final = 1024 * 1024
TAIL_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class Program:
    """A child to run: its command, its environment, and where it says that it is ready."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    admin: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a restart: not at all at first, then doubling."""

    first: timedelta = timedelta(seconds=0.5)
    longest: timedelta = timedelta(seconds=30)
    healthy: timedelta = timedelta(seconds=60)
    """After so long without a crash, the next one counts as the first again."""

    def delay(self, crashes: int) -> float:
        """Seconds before the restart after this many crashes in a row."""
        if crashes <= 1:
            return 0.0
        doubled: float = self.first.total_seconds() * 2 ** min(crashes - 2, 16)
        return min(doubled, self.longest.total_seconds())


class StartFailed(Exception):
    """A child ended before it was ready for the first time; the text is what it said."""


@dataclass(slots=True)
class Listener:
    """What a supervisor tells."""

    line: Callable[[str, str], None]
    say: Callable[[str, str], None]
    came_back: Callable[[], None] = lambda: None
    """A child is ready again after a crash, as another process."""


@dataclass(slots=True)
class Child:
    """One program under supervision."""

    program: Program
    listener: Listener
    backoff: Backoff
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _tail: list[str] = field(default_factory=list)

    async def keep(self) -> None:
        """Run it, and again whenever it ends, until `stop`.

        Raises:
            StartFailed: it ended, or did not get ready in time, before it ever was ready.
        """
        crashes = 0
        while not self._stopping.is_set():
            began = monotonic()
            code = await self._run()
            if self._stopping.is_set():
                return
            if not self.ready.is_set():
                raise StartFailed(self._last_words(code))
            if monotonic() - began > self.backoff.healthy.total_seconds():
                crashes = 0
            crashes += 1
            delay = self.backoff.delay(crashes)
            when = f"in {delay:.1f} s" if delay else "at once"
            self.listener.say(self.program.name, f"crashed ({_why(code)}); restarting {when}")
            await self._pause(delay)

    async def stop(self, grace: timedelta) -> None:
        """End it: SIGTERM, and SIGKILL when the grace period is over."""
        self._stopping.set()
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await process.wait()
        except TimeoutError:
            self.listener.say(self.program.name, "did not stop in time; killed")
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """SIGKILL, now."""
        self._stopping.set()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when it is to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _run(self) -> int:
        self._tail.clear()
        self.process = process = await asyncio.create_subprocess_exec(
            *self.program.command,
            env={**os.environ, **self.program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAX_LINE_BYTES,
            # Ctrl-C is for `up`, which then stops its children in order. They stay in its session:
            # Linux would share CPUs among sessions first, whatever the threads' priorities.
            process_group=0,
        )
        if self._stopping.is_set():
            process.kill()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(process))
            waiting = group.create_task(self._become_ready(process))
            code = await process.wait()
            waiting.cancel()
        return code

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # Longer than the limit; what was read is dropped.
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            self._tail = [*self._tail[-TAIL_LINES:], text]
            if self.ready.is_set():
                self.listener.line(self.program.name, text)

    async def _become_ready(self, process: asyncio.subprocess.Process) -> None:
        began = monotonic()
        while not await answers(*self.program.admin):
            if monotonic() - began > START_TIMEOUT.total_seconds():
                process.kill()
                return
            await asyncio.sleep(POLL_SECONDS)
        took = monotonic() - began
        self.listener.say(self.program.name, f"ready in {took:.1f} s")
        if not self.ready.is_set():
            self.ready.set()
            for text in self._tail:  # Until now they might have been its last words.
                self.listener.line(self.program.name, text)
        else:
            self.listener.came_back()

    def _last_words(self, code: int) -> str:
        said = [line for line in self._tail if not line.startswith("{")]
        return "\n".join(said[-TAIL_LINES:]) or f"ended while starting ({_why(code)})"


def _why(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def answers(host: str, port: int) -> bool:
    """Whether `GET /readyz` there says 200 within a second."""
    request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def python(module: str) -> list[str]:
    """The command that runs one of our modules as a child of this process."""
    return [sys.executable, "-m", "services.cli.child", str(os.getpid()), module]


@asynccontextmanager
async def supervised(children: Sequence[Child], *, grace: timedelta) -> AsyncIterator[None]:
    """Run all children; entered when all are ready.

    On leaving they stop, the last one first, all within the grace period.

    Raises:
        StartFailed: in a group, when one of them cannot start.
    """
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.keep())
        try:
            for child in children:
                await child.ready.wait()
            yield
        finally:
            end = monotonic() + grace.total_seconds()
            for child in reversed(children):
                await child.stop(timedelta(seconds=max(0.0, end - monotonic())))
