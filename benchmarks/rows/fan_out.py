"""One task that many watch."""

from collections.abc import Iterator
from typing import Final

from benchmarks.bench import Bench, cpu_each, errors, together
from benchmarks.figure import Figure
from benchmarks.load.job import Job

WATCHERS: Final = 100


def fan_out(bench: Bench) -> Iterator[Figure]:
    """100 watchers of one paced task by SSE."""
    with bench.suite("echo", INFERENCE_ECHO__DELAY="PT0.005S") as suite:
        body = {"query": "tokens:400", "tool_choice": "none"}
        job = Job("fan_out", suite.address, body=body, callers=WATCHERS, count=bench.scaled(5))
        runs = bench.runs("fan-out", suite, job)
    each = sum(run.number("events") / run.number("count") for run in runs) / len(runs)
    yield Figure(
        "fan-out",
        "CPU a delivered event",
        "µs",
        [together(run, run.number("events") / run.number("count"), 1e6) for run in runs],
        cpu=cpu_each(runs, each, 1e6),
        cpu_unit="µs",
        errors=errors(runs),
        note=f"{WATCHERS} watchers of one task of 400 tokens, 5 ms apart",
        runs=[run.document() for run in runs],
    )
    rates = [run.number("events") / run.number("seconds") for run in runs]
    yield Figure("fan-out", "events delivered", "/s", rates)
    yield Figure(
        "fan-out",
        "last watcher behind the first, at the end",
        "ms",
        [run.number("spread", "p50") for run in runs],
    )
