"""Workflows: three steps, a signal, an undoing, and many that wait."""

import tempfile
from collections.abc import Iterator

from benchmarks.bench import Bench, Run, cpu_each, errors, together
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.rows.tools import Nothing
from tests.servers.postgres import postgres

WAITING = 10_000


def workflow(bench: Bench) -> Iterator[Figure]:
    """Three steps that each call a tool, 32 at once, on SQLite with every append on the disk."""
    with bench.echo() as suite:
        target = suite.grpc["workflow"]
        job = Job("workflows", target=target, callers=32, seconds=bench.scaled(8))
        runs = bench.runs("workflow", suite, job)
    yield Figure(
        "workflow",
        "3-step workflows, 32 at once",
        "/s",
        _rates(runs),
        Bar(300, is_least=True),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    cpu = [together(run, 1, 1e3) for run in runs]
    yield Figure("workflow", "CPU a workflow", "ms", cpu, Bar(6.0), cpu=cpu_each(runs, 1, 1e3))
    yield _latency("workflow", "p50", runs)
    yield _latency("workflow", "p99", runs, Bar(400))


def signal(bench: Bench) -> Iterator[Figure]:
    """From a signal to its answer, when the transition is on the disk."""
    with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder, postgres() as server:
        for name, url in {"SQLite": f"sqlite:///{folder}", "PostgreSQL": server.url}.items():
            with bench.suite("echo", RUNPLANE_EVENT_STORE=url) as suite:
                for callers in (1, 32):
                    row = f"workflow-signal {name} x{callers}"
                    job = Job(
                        "workflow_signals",
                        target=suite.grpc["workflow"],
                        callers=callers,
                        seconds=bench.scaled(5),
                    )
                    yield from _signals(row, bench.runs(row, suite, job), is_barred=callers == 1)


def _signals(row: str, runs: list[Run], *, is_barred: bool) -> Iterator[Figure]:
    """The bars are for one caller: 32 that never pause wait for each other, whatever it takes."""
    yield Figure(
        row,
        "transitions",
        "/s",
        _rates(runs),
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    yield _latency(row, "p50", runs, Bar(10) if is_barred else None)
    yield _latency(row, "p99", runs, Bar(50) if is_barred else None)


def undo(bench: Bench) -> Iterator[Figure]:
    """From CompensateWorkflow to the end of a workflow whose one action is undone."""
    with bench.echo() as suite:
        target = suite.grpc["workflow"]
        job = Job("workflow_undos", target=target, seconds=bench.scaled(4))
        runs = bench.runs("workflow-undo", suite, job)
    yield Figure(
        "workflow-undo",
        "one action undone, p50",
        "ms",
        [run.number("latency", "p50") for run in runs],
        Bar(20),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
    yield _latency("workflow-undo", "p99", runs)


def waiting(bench: Bench) -> Iterator[Figure]:
    """10,000 workflows that wait for a signal or an hour: a row each, no task, no memory."""
    with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder:
        job = Job(
            "workflow_waiting",
            callers=32,
            count=bench.scaled(WAITING),
            options={"url": f"sqlite:///{folder}"},
        )
        run = bench.once(Nothing(), job)
    row = f"workflow-waiting {job.count:,}"
    tasks = run.number("tasks", "after") - run.number("tasks", "before")
    yield Figure(row, "more tasks", "", [tasks], Bar(0), runs=[run.document()])
    for when in ("before", "after"):
        yield Figure(row, f"memory {when}", "MiB", [run.number("mib", when)])
    grown = run.number("mib", "after") - run.number("mib", "before")
    yield Figure(row, "memory each", "KiB", [grown * 1024 / job.count])
    yield Figure(row, "starts", "/s", _rates([run]))


def _rates(runs: list[Run]) -> list[float]:
    return [run.number("count") / run.number("seconds") for run in runs]


def _latency(row: str, label: str, runs: list[Run], bar: Bar | None = None) -> Figure:
    return Figure(row, label, "ms", [run.number("latency", label) for run in runs], bar)
