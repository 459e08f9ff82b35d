"""The event stores alone, every append on the disk; and what that costs an invoke."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from benchmarks.bench import Bench, cpu_each, errors, together
from benchmarks.figure import Figure
from benchmarks.load.job import Job
from benchmarks.rows.invoke import invokes
from benchmarks.rows.tools import Nothing
from tests.servers.postgres import postgres


def append(bench: Bench) -> Iterator[Figure]:
    """SQLite and PostgreSQL, 1 and 64 writers."""
    with _stores() as urls:
        for name, url in urls.items():
            for writers in (1, 64):
                yield from _append(bench, f"append-{name}-{writers}", url, writers)


def _append(bench: Bench, row: str, url: str, writers: int) -> Iterator[Figure]:
    names, done = count(), []
    for _ in range(bench.times + 1):  # The first one warms up.
        options = {"url": url, "name": f"{row}-{next(names)}"}
        job = Job(
            "appends", callers=writers, count=bench.scaled(500) * min(writers, 20), options=options
        )
        done.append(bench.once(Nothing(), job))
        bench.say(f"{row}: run {len(done) - 1}")
    runs = done[1:]
    rates = [run.number("count") / run.number("seconds") for run in runs]
    yield Figure(row, "appends", "/s", rates, errors=errors(runs))
    for label in ("p50", "p99"):
        yield Figure(row, label, "ms", [run.number("latency", label) for run in runs])


def durable(bench: Bench) -> Iterator[Figure]:
    """Invokes of 32 callers: without a disk, on SQLite and on PostgreSQL."""
    rates: dict[str, list[float]] = {}
    with _stores() as urls:
        for name, url in {"memory": "memory:", **urls}.items():
            with bench.suite("echo", RUNPLANE_EVENT_STORE=url) as suite:
                runs = bench.runs(f"durable, {name}", suite, invokes(bench, suite, 32))
            rates[name] = [run.number("count") / run.number("seconds") for run in runs]
            yield Figure("durable", f"invokes, {name}", "/s", rates[name], errors=errors(runs))
            cpu = [together(run, 1, 1e3) for run in runs]
            each = cpu_each(runs, 1, 1e3)
            yield Figure("durable", f"CPU an invoke, {name}", "ms", cpu, cpu=each)
    for name in urls:
        ratios = [
            ours / without for ours, without in zip(rates[name], rates["memory"], strict=True)
        ]
        yield Figure("durable", f"rate of {name} by memory's", "", ratios)


@contextmanager
def _stores() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder, postgres() as server:
        yield {"sqlite": f"sqlite:///{folder}", "postgresql": server.url}
