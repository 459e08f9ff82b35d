"""What the edge's line for a request costs: with none, with ten a second, and with all of them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from benchmarks.bench import Bench, Run, cpu_each, errors
from benchmarks.figure import Figure
from benchmarks.load.job import Job

ROUNDS: Final = 3
LINES: Final = {"none": "warning", "ten a second": "info", "each": "debug"}
"""The level of `gateway.access` by how many lines that means."""
PATH: Final = "/v1/models/echo"


def access(bench: Bench) -> Iterator[Figure]:
    """The cheapest request there is, 32 callers: three edges in turns, so that what else the
    machine does concerns all of them alike."""
    runs: dict[str, list[Run]] = {lines: [] for lines in LINES}
    with ExitStack() as stack:
        suites = {
            lines: stack.enter_context(
                bench.suite("echo", RUNPLANE_LOG__LEVELS=json.dumps({"gateway.access": level}))
            )
            for lines, level in LINES.items()
        }
        for _ in range(ROUNDS):
            for lines, suite in suites.items():
                expect, seconds = '"engine":"echo"', bench.scaled(5)
                job = Job("closed", suite.address, PATH, expect=expect, callers=32, seconds=seconds)
                runs[lines] += bench.runs(f"access lines: {lines}", suite, job)
    for lines, done in runs.items():
        spent = [run.cpu["gateway"] * 1e6 / max(run.number("count"), 1) for run in done]
        cpu = cpu_each(done, 1, 1e3)
        yield Figure("access", f"CPU a request, {lines}", "µs", spent, cpu=cpu, errors=errors(done))
