"""A whole suite as a user starts it: `runplane up` as a process, and its edge as the only door."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from tests.servers.ports import SUITE, reserved

RUNPLANE = str(Path(sys.executable).with_name("runplane"))
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(
        ("RUNPLANE_", "INFERENCE_", "TOOL_REGISTRY_", "ORCHESTRATOR_", "WORKFLOW_", "GATEWAY_")
    )
}
UNCACHED = {"ORCHESTRATOR_CACHE__ENABLED": "false"}
"""What one test asks, another may have asked before."""


def until(holds: Callable[[], object], *, seconds: float = 20) -> None:
    """Look again and again until something holds; a test that waits longer has failed."""
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end, f"waited {seconds} s in vain"
        sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@dataclass(frozen=True)
class Suite:
    """A suite that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    state: Path
    output: Path

    @property
    def url(self) -> str:
        """Where its edge listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What `up` printed so far."""
        return self.output.read_text()

    @property
    def run(self) -> dict[str, Any]:
        """What `run.json` says."""
        run: dict[str, Any] = json.loads((self.state / "run.json").read_text())
        return run

    def children(self) -> list[int]:
        """The processes of its services."""
        return [each.pid for each in psutil.Process(self.process.pid).children()]


def command(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """`runplane …`, with pipes."""
    pipe = subprocess.PIPE
    env = PLAIN | environment
    return subprocess.Popen([RUNPLANE, *arguments], env=env, stdin=pipe, stdout=pipe, stderr=pipe)


def outcome(*arguments: str, given: str = "", **environment: str) -> tuple[int, str, str]:
    """`runplane …` to its end: exit code, standard output, standard error."""
    process = command(*arguments, **environment)
    try:
        out, err = process.communicate(given.encode(), timeout=30)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()


@contextmanager
def suite(
    folder: Path, *arguments: str, seconds: float = 60, **environment: str
) -> Iterator[Suite]:
    """A suite with its state in `folder`, stopped in the end by Ctrl-C's signal. It has no response
    cache, unless the environment says so."""
    state, output = folder / "state", folder / "output"
    with reserved(SUITE) as port:
        line = [RUNPLANE, "up", "--port", str(port), "--state", str(state), *arguments]
        with output.open("wb") as file:
            env = PLAIN | UNCACHED | environment
            process = subprocess.Popen(line, env=env, stdout=file, stderr=file)
        running = Suite(process, port, state, output)
        try:
            until(
                lambda: (state / "run.json").exists() or process.poll() is not None, seconds=seconds
            )
            assert process.poll() is None, running.said
            yield running
        finally:
            stop(running)


def stop(running: Suite) -> None:
    """End it and all of its children."""
    if running.process.poll() is not None:
        return
    children = running.children()
    running.process.send_signal(signal.SIGINT)
    try:
        running.process.wait(timeout=30)
    finally:
        running.process.kill()
        for pid in filter(is_alive, children):
            os.kill(pid, signal.SIGKILL)
