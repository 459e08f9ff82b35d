"""Invokes with echo: rate, latency, CPU."""

from collections.abc import Iterator

from benchmarks.bench import Bench, cpu_each, errors, together
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.suite import Suite


def one(bench: Bench) -> Iterator[Figure]:
    """One caller."""
    yield from _invoke(bench, "invoke-1", 1)


def many(bench: Bench) -> Iterator[Figure]:
    """32 callers."""
    yield from _invoke(bench, "invoke-32", 32)


def invokes(bench: Bench, suite: Suite, callers: int) -> Job:
    """Invokes by so many callers for a while."""
    return Job(
        "closed",
        suite.address,
        "/v1/agent/invoke",
        {"query": "Hello"},
        expect='"status":"completed","result":"Hello"',
        callers=callers,
        seconds=bench.scaled(8),
    )


def _invoke(bench: Bench, row: str, callers: int) -> Iterator[Figure]:
    with bench.echo() as suite:
        runs = bench.runs(row, suite, invokes(bench, suite, callers))
    rates = [run.number("count") / run.number("seconds") for run in runs]
    is_many = callers > 1
    yield Figure(
        row,
        "invokes",
        "/s",
        rates,
        Bar(600, is_least=True, aim=1200) if is_many else None,
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    yield Figure(
        row,
        "CPU an invoke",
        "ms",
        [together(run, 1, 1e3) for run in runs],
        Bar(2.0, aim=1.2) if is_many else None,
        cpu=cpu_each(runs, 1, 1e3),
    )
    for label in ("p50", "p99"):
        yield Figure(row, label, "ms", [run.number("latency", label) for run in runs])
