"""A real suite, started as people start it, and what its processes spend."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psutil

from services.cli.ports import free

READY_SECONDS: Final = 120
STOP_SECONDS: Final = 30
POLL_SECONDS: Final = 0.01
_taken: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that runs."""

    address: str
    """`host:port` of the edge."""
    grpc: Mapping[str, str]
    processes: Mapping[str, psutil.Process]
    """The services and the gateway; and `up`, which only watches."""
    ready_seconds: float

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each process has used."""
        return {name: seconds(process) for name, process in self.processes.items()}


def seconds(process: psutil.Process) -> float:
    """User and system time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def seconds_of_all(process: psutil.Process) -> float:
    """The same of a process and those that it started, also of those that have ended: these are
    among its children's."""
    times = process.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # It has ended just now.
            total += seconds(child)
    return total


@contextmanager
def running(
    engine: str, environment: Mapping[str, str], arguments: Sequence[str] = ()
) -> Iterator[Suite]:
    """`runplane up` with these settings on free ports, its state in a temporary folder.

    Raises:
        RuntimeError: it did not get ready; says what it said.
    """
    port = free("127.0.0.1", taken=_taken)
    with tempfile.TemporaryDirectory(prefix="runplane-bench-") as path:
        state = Path(path)
        log = (state / "up.log").open("w")
        command = [
            str(Path(sys.executable).with_name("runplane")),
            "up",
            "--engine",
            engine,
            *arguments,
        ]
        began = monotonic()
        up = subprocess.Popen(
            [*command, "--port", str(port), "--state", path, "--log-level", "warning", *arguments],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _ready(up, state, began)
        finally:
            up.terminate()
            try:
                up.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                up.kill()
                up.wait()
            log.close()


def _ready(up: subprocess.Popen[bytes], state: Path, began: float) -> Suite:
    announced = state / "run.json"
    while not announced.exists():
        if up.poll() is not None or monotonic() - began > READY_SECONDS:
            raise RuntimeError(
                f"the suite did not start:\n{(state / 'up.log').read_text()[-2000:]}"
            )
        sleep(POLL_SECONDS)
    took = monotonic() - began
    run = json.loads(announced.read_text())
    pids = {**run["pids"], "up": run["pid"]}
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    return Suite(run["url"].removeprefix("http://"), run["grpc"], processes, took)
