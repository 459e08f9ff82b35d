"""From a process's start to SERVING."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from benchmarks.bench import Bench
from benchmarks.figure import Bar, Figure
from benchmarks.suite import seconds
from services.cli.ports import free
from services.cli.suite import Options, planned, programs
from services.cli.supervisor import Program

POLL_SECONDS: Final = 0.01
LONGEST: Final = 60


def start_up(bench: Bench) -> Iterator[Figure]:
    """Each process alone, its files in the page cache; then whole suites."""
    took: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for _ in range(bench.times):
        for program in _programs():
            bench.say(f"starting {program.name}")
            ready, cpu = _start(program)
            took.setdefault(program.name, []).append(ready)
            spent.setdefault(program.name, []).append(cpu)
    for name, values in took.items():
        cpu_each = {name: sorted(spent[name])[len(spent[name]) // 2]}
        yield Figure("start-up", name, "s", values, Bar(1.5), cpu=cpu_each, cpu_unit="s")
    for engine, bar in (("echo", None), ("llamacpp", Bar(6))):
        whole = []
        for _ in range(bench.times):
            with bench.suite(engine) as suite:
                whole.append(suite.ready_seconds)
        yield Figure("start-up", f"suite, {engine}", "s", whole, bar)


def _programs() -> list[Program]:
    plan = planned("127.0.0.1", free("127.0.0.1", taken=set()))
    return programs(plan, Options("echo", None, "warning", "00" * 32, mark_key="00" * 32))


def _start(program: Program) -> tuple[float, float]:
    """Seconds until it is ready, and what it spent of CPU until then."""
    with tempfile.TemporaryFile() as log:
        began = monotonic()
        child = subprocess.Popen(
            program.command,
            env={**os.environ, **program.environment},
            cwd=Path.cwd(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while not _is_ready(program.admin):
                if child.poll() is not None or monotonic() - began > LONGEST:
                    log.seek(0)
                    raise RuntimeError(f"{program.name} did not start: {log.read()[-2000:]!r}")
                sleep(POLL_SECONDS)
            return monotonic() - began, seconds(psutil.Process(child.pid))
        finally:
            child.terminate()
            child.wait(30)


def _is_ready(admin: tuple[str, int]) -> bool:
    host, port = admin
    try:
        with urlopen(f"http://{host}:{port}/readyz", timeout=1) as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
