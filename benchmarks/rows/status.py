"""How soon a task says something."""

import json
from collections.abc import Iterator
from urllib.request import Request, urlopen

from benchmarks.bench import Bench, cpu_each, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job


def status(bench: Bench) -> Iterator[Figure]:
    """Reads of one task, one caller."""
    with bench.echo() as suite:
        asked = Request(
            f"http://{suite.address}/v1/agent/invoke",
            json.dumps({"query": "Hello"}).encode(),
            {"content-type": "application/json"},
        )
        with urlopen(asked) as response:  # noqa: S310 - as above
            task_id = json.load(response)["task_id"]
        path, expect = f"/v1/tasks/{task_id}", '"status":"completed"'
        job = Job("closed", suite.address, path, expect=expect, seconds=bench.scaled(4))
        runs = bench.runs("status", suite, job)
    yield Figure(
        "status",
        "p50",
        "ms",
        [run.number("latency", "p50") for run in runs],
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    yield Figure("status", "p99", "ms", [run.number("latency", "p99") for run in runs], Bar(5))


def start(bench: Bench) -> Iterator[Figure]:
    """Streams one after the other."""
    with bench.echo() as suite:
        job = Job(
            "streams",
            suite.address,
            "/v1/agent/stream",
            {"query": "Hello", "tool_choice": "none"},
            expect='"answer":"Hello"',
            count=bench.scaled(400),
        )
        runs = bench.runs("start", suite, job)
    yield Figure(
        "start",
        "task_start p50",
        "ms",
        [run.number("start", "p50") for run in runs],
        Bar(10),
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    for part, name in (("start", "task_start p99"), ("whole", "whole stream p50")):
        label = name[-3:]
        yield Figure("start", name, "ms", [run.number(part, label) for run in runs])
