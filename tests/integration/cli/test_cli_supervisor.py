"""The supervisor with real children."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from services.cli.supervisor import Backoff, Child, Listener, Program, StartFailed, supervised
from tests.e2e.running import is_alive
from tests.servers.ports import free

SCRIPT = str(Path(__file__).with_name("child_under_test.py"))
QUICK = Backoff(first=timedelta(milliseconds=10), longest=timedelta(milliseconds=40))
GRACE = timedelta(seconds=5)


class Heard:
    """What a supervisor told, and a wait for it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []
        self._news = asyncio.Event()
        self.listener = Listener(self._add(self.lines), self._add(self.said))

    def about(self, name: str) -> list[str]:
        """What was said of one child."""
        return [text for who, text in self.said if who == name]

    def crashes(self, name: str) -> list[str]:
        """Its crashes among that."""
        return [text for text in self.about(name) if text.startswith("crashed")]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for news until something holds."""
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def _add(self, to: list[tuple[str, str]]) -> Callable[[str, str], None]:
        def add(name: str, text: str) -> None:
            to.append((name, text))
            self._news.set()

        return add


@pytest.fixture
async def heard() -> Heard:
    """Ears."""
    return Heard()


def child(heard: Heard, name: str, behaviour: str = "good", backoff: Backoff = QUICK) -> Child:
    """A child that behaves so."""
    port = free()
    command = [sys.executable, SCRIPT, str(port), behaviour]
    return Child(Program(name, command, {}, ("127.0.0.1", port)), heard.listener, backoff)


def pid_of(child: Child) -> int:
    """Its process now."""
    assert child.process
    return child.process.pid


@asynccontextmanager
async def running(*children: Child, grace: timedelta = GRACE) -> AsyncIterator[None]:
    """Supervised, within a bound."""
    async with asyncio.timeout(20), supervised(children, grace=grace):
        yield


async def failure(*children: Child) -> str:
    """Why they cannot start."""
    with pytest.RaisesGroup(StartFailed) as raised:
        async with running(*children):
            raise AssertionError("it started")
    return str(raised.value.exceptions[0])


async def enter(*children: Child) -> None:
    """Only that."""
    async with running(*children):
        pass


async def test_entered_when_all_are_ready_and_left_when_all_have_ended(heard: Heard) -> None:
    children = [child(heard, "one"), child(heard, "two")]
    async with running(*children):
        pids = [pid_of(each) for each in children]
        were = [is_alive(pid) for pid in pids]
        ready = [each.ready.is_set() for each in children]

    assert (were, ready) == ([True, True], [True, True])
    assert not any(map(is_alive, pids))


async def test_a_childs_signals_are_its_own_and_its_session_is_ours(heard: Heard) -> None:
    one = child(heard, "one")
    async with running(one):
        pid = pid_of(one)
        group, session = os.getpgid(pid), os.getsid(pid)

    assert group == pid
    assert session == os.getsid(0)


async def test_what_a_child_says_before_it_is_ready_is_heard_once(heard: Heard) -> None:
    async with running(child(heard, "one")):
        pass

    assert heard.lines == [("one", "up"), ("one", "bye")]


async def test_the_last_child_stops_first(heard: Heard) -> None:
    children = [child(heard, name) for name in ("one", "two", "three")]
    async with running(*children):
        pass

    byes = [name for name, text in heard.lines if text == "bye"]
    assert byes == ["three", "two", "one"]


async def test_the_first_crash_is_mended_at_once_and_later_ones_after_a_while(
    heard: Heard,
) -> None:
    one = child(heard, "one")
    async with running(one):
        for crashes in (1, 2, 3):
            old = pid_of(one)
            os.kill(old, signal.SIGKILL)
            await heard.until(lambda n=crashes: len(heard.crashes("one")) == n)  # type: ignore[misc]
            await heard.until(lambda n=crashes: ready_again(heard, n + 1))  # type: ignore[misc]
            assert pid_of(one) != old

    first, *later = heard.crashes("one")
    assert first == "crashed (signal 9); restarting at once"
    assert all("restarting in" in each for each in later)


def ready_again(heard: Heard, times: int) -> bool:
    """Whether the child got ready so often."""
    return sum(text.startswith("ready") for text in heard.about("one")) == times


async def test_the_others_run_on_when_one_crashes(heard: Heard) -> None:
    one, two = child(heard, "one"), child(heard, "two")
    async with running(one, two):
        before = pid_of(two)
        os.kill(pid_of(one), signal.SIGKILL)
        await heard.until(lambda: ready_again(heard, 2))
        after = pid_of(two)

    assert before == after
    assert heard.crashes("two") == []


async def test_a_child_that_cannot_come_back_is_tried_again_until_the_end(
    heard: Heard, tmp_path: Path
) -> None:
    one = child(heard, "one", f"once:{tmp_path / 'flag'}")
    async with running(one):
        os.kill(pid_of(one), signal.SIGKILL)
        await heard.until(lambda: len(heard.crashes("one")) == 4)

    assert "exit code 4" in heard.crashes("one")[-1]


async def test_a_child_that_cannot_start_says_why(heard: Heard) -> None:
    words = await failure(child(heard, "one", "broken"))

    assert words == "the disk is full"


async def test_a_child_that_cannot_start_takes_the_others_with_it(heard: Heard) -> None:
    good = child(heard, "good")
    await failure(good, child(heard, "bad", "broken"))

    assert good.process is None or not is_alive(good.process.pid)


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(heard: Heard) -> None:
    one = child(heard, "one", "stubborn")
    async with running(one, grace=timedelta(milliseconds=100)):
        pid = pid_of(one)

    assert not is_alive(pid)
    assert heard.about("one")[-1] == "did not stop in time; killed"


async def test_a_second_wish_to_stop_kills_at_once(heard: Heard) -> None:
    one = child(heard, "one", "stubborn")
    async with running(one, grace=timedelta(seconds=60)):  # Longer than this test may last.
        pid = pid_of(one)
        one.kill()

    assert not is_alive(pid)


async def test_leaving_while_a_child_still_starts_ends_it(heard: Heard) -> None:
    one, mute = child(heard, "one"), child(heard, "mute", "mute")
    entering = asyncio.create_task(enter(one, mute))
    await heard.until(lambda: ready_again(heard, 1))
    were = [is_alive(pid_of(each)) for each in (one, mute)]
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering

    assert were == [True, True]
    assert not any(is_alive(pid_of(each)) for each in (one, mute))


async def test_leaving_while_a_child_waits_for_its_restart_does_not_wait(heard: Heard) -> None:
    slow = Backoff(first=timedelta(seconds=60))
    one = child(heard, "one", backoff=slow)
    async with running(one):
        os.kill(pid_of(one), signal.SIGKILL)
        await heard.until(lambda: ready_again(heard, 2))
        os.kill(pid_of(one), signal.SIGKILL)
        await heard.until(lambda: len(heard.crashes("one")) == 2)

    assert one.process
    assert not is_alive(one.process.pid)


async def test_a_line_without_end_costs_no_memory_and_no_child(heard: Heard) -> None:
    one = child(heard, "one", "long")
    async with running(one):
        pass

    assert max(len(text) for _, text in heard.lines) < 2_000_000
    assert heard.crashes("one") == []
