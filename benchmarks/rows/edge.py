"""The edge alone: the cheapest RPC there is behind it, and Envoy over the same backend."""

import os
from collections.abc import Iterator

from benchmarks.bench import Bench, Run, cpu_each, errors
from benchmarks.envoy import running
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job

PATH = "/v1/models/echo"
VARIABLE = "RUNPLANE_BENCH_ENVOY"


def edge(bench: Bench) -> Iterator[Figure]:
    """One caller, and 32."""
    with bench.echo() as suite:
        for callers in (1, 32):
            job = _job(bench, suite.address, callers)
            runs = bench.runs(f"edge, {callers} callers", suite, job)
            yield from _figures(f"edge-{callers}", runs, "gateway", Bar(0.30))


def envoy(bench: Bench) -> Iterator[Figure]:
    """32 callers, the edge and Envoy in turns."""
    program = os.environ.get(VARIABLE)
    if not program:
        bench.say(f"edge-envoy is left out: {VARIABLE} does not say where envoy is")
        return
    with bench.echo() as suite, running(program, suite) as proxy:
        ours: list[Run] = []
        theirs: list[Run] = []
        for turn in range(bench.times + 1):
            mine = bench.once(suite, _job(bench, suite.address, 32))
            their = bench.once(proxy, _job(bench, proxy.address, 32))
            if turn:  # The first one warms up.
                ours.append(mine)
                theirs.append(their)
                bench.say(f"edge-envoy: run {turn}")
    yield from _figures("edge-envoy: edge", ours, "gateway", Bar(0.30))
    yield from _figures("edge-envoy: envoy", theirs, "envoy", None)
    pairs = zip(ours, theirs, strict=True)
    ratios = [_rate(mine) / _rate(their) for mine, their in pairs]
    yield Figure("edge-envoy", "our rate by Envoy's", "", ratios, Bar(0.8, is_least=True))


def _job(bench: Bench, address: str, callers: int) -> Job:
    expect = '"engine":"echo"'
    seconds = bench.scaled(5)
    return Job("closed", address, PATH, expect=expect, callers=callers, seconds=seconds)


def _figures(row: str, runs: list[Run], process: str, bar: Bar | None) -> Iterator[Figure]:
    per_request = [run.cpu[process] * 1e3 / max(run.number("count"), 1) for run in runs]
    yield Figure(
        row,
        f"CPU of {process} a request",
        "ms",
        per_request,
        bar if "32" in row or "envoy" in row else None,
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    yield Figure(row, "requests", "/s", [_rate(run) for run in runs])
    yield Figure(row, "p50", "ms", [run.number("latency", "p50") for run in runs])


def _rate(run: Run) -> float:
    return run.number("count") / run.number("seconds")
