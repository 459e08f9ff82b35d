"""What it costs to choose a model, and how long a task is silent whose model dies."""

from collections.abc import Iterator
from typing import Final

from benchmarks.bench import Bench, errors
from benchmarks.figure import Figure
from benchmarks.load.job import Job
from benchmarks.rows.tools import Nothing

MODELS: Final = (4, 64)
POLICIES: Final = ("cheapest", "fastest", "pinned", "weighted", "canary")


def routing(bench: Bench) -> Iterator[Figure]:
    """In-process, by policy, among few models and many; and among replicas."""
    for models in MODELS:
        job = Job("decisions", count=bench.scaled(10_000), options={"models": models})
        runs = bench.runs(f"routing, {models} models", Nothing(), job)
        for policy in POLICIES:
            is_first = policy == POLICIES[0]
            yield Figure(
                "routing",
                f"{policy}, {models} models",
                "µs",
                [run.number(f"{policy}_us") for run in runs],
                errors=errors(runs) if is_first else {},
                note="CPU time",
                runs=[run.document() for run in runs] if is_first else (),
            )
    replicas = [run.number("replica_us") for run in runs]
    yield Figure("routing", "a replica of 8, with affinity", "µs", replicas)


def fallback(bench: Bench) -> Iterator[Figure]:
    """From the kill to the next model's first text, as a watcher sees it."""
    runs = []
    for _ in range(bench.times):
        runs.append(bench.once(Nothing(), Job("fallbacks", count=bench.scaled(25))))
        bench.say(f"fallback: run {len(runs)}")
    for route, name in (("goes_on", "the text is gone on with"), ("anew", "the step begins anew")):
        for label in ("p50", "p99"):
            is_first = (route, label) == ("goes_on", "p50")
            yield Figure(
                "fallback",
                f"{name}, {label}",
                "ms",
                [run.number(route, label) for run in runs],
                errors=errors(runs) if is_first else {},
                note="from the kill to the next text at a watcher; SQLite, fsync on",
                runs=[run.document() for run in runs] if is_first else (),
            )
    job = Job("kills", count=bench.scaled(10))
    killed = [bench.once(Nothing(), job) for _ in range(bench.times)]
    for label in ("p50", "max"):
        yield Figure(
            "fallback",
            f"its process is killed, {label}",
            "ms",
            [run.number("process", label) for run in killed],
            errors=errors(killed) if label == "p50" else {},
        )
