"""32 streams at once."""

from collections.abc import Iterator
from typing import Final

from benchmarks.bench import Bench, Run, cpu_each, errors, together
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.suite import Suite

STREAMS: Final = 32
BAR: Final = Bar(40, aim=20)


def stream(bench: Bench) -> Iterator[Figure]:
    """At full speed, and at 200 tokens a second each, where text is merged least."""
    with bench.echo() as suite:
        runs = _run(bench, suite, 20_000, bench.scaled(5))
        yield from _figures("stream-32", runs, 20_000, BAR)
    with bench.suite("echo", INFERENCE_ECHO__DELAY="PT0.005S") as paced:
        runs = _run(bench, paced, 400, bench.scaled(5))
        yield from _figures("stream-32 paced", runs, 400, None)


def _run(bench: Bench, suite: Suite, tokens: int, rounds: int) -> list[Run]:
    job = Job(
        "streams",
        suite.address,
        "/v1/agent/stream",
        {"query": f"tokens:{tokens}", "tool_choice": "none"},
        expect=f'tok{tokens}"',
        callers=STREAMS,
        count=rounds,
    )
    return bench.runs(f"stream-32, {tokens} tokens", suite, job)


def _figures(row: str, runs: list[Run], tokens: int, bar: Bar | None) -> Iterator[Figure]:
    yield Figure(
        row,
        "CPU a token",
        "µs",
        [together(run, tokens, 1e6) for run in runs],
        bar,
        cpu=cpu_each(runs, tokens, 1e6),
        cpu_unit="µs",
        errors=errors(runs),
        note=f"{STREAMS} streams of {tokens:,} tokens",
        runs=[run.document() for run in runs],
    )
    events = [run.number("events") / max(run.number("count"), 1) for run in runs]
    each = [together(run, many, 1e6) for run, many in zip(runs, events, strict=True)]
    yield Figure(row, "CPU an event", "µs", each)
    yield Figure(row, "events a stream", "", events)
    rates = [run.number("count") * tokens / run.number("seconds") for run in runs]
    yield Figure(row, "tokens", "/s", rates)
    yield Figure(row, "first text p99", "ms", [run.number("first", "p99") for run in runs])
