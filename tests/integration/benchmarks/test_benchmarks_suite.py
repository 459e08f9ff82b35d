"""What processes spend, as benchmarks read it."""

import subprocess
import sys

import psutil
import pytest

from benchmarks.suite import seconds, seconds_of_all

WORK = """
import time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
input()
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WORK!r}])
child.wait()
print("ended", flush=True)
input()
"""


def test_what_a_child_has_used_is_counted_before_and_after_its_end() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        parent = psutil.Process(started.pid)
        assert started.stdout.readline() == b"done\n"
        running = seconds_of_all(parent)
        started.stdin.write(b"\n")
        started.stdin.flush()
        assert started.stdout.readline() == b"ended\n"
        ended = seconds_of_all(parent)
        own = seconds(parent)
        started.communicate(b"\n")

    assert min(running, ended) > 0.29  # A tick of the kernel's clock is 10 ms.
    assert own < 0.29


def test_a_child_that_ends_while_it_is_looked_at_ends_no_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        gone = psutil.Process(ended.pid)
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [gone])

    assert seconds_of_all(psutil.Process()) > 0
