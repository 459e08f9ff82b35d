"""Two orchestrators over one PostgreSQL: cancels from the other one, and take-overs."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.bench import Bench, Run, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import JSON, Job
from benchmarks.rows.tools import Nothing
from benchmarks.suite import Suite
from tests.servers.postgres import postgres
from tests.servers.redis import redis

REPLICAS: Final = ("--replicas", "orchestrator=2")
SIGNALS: Final = {"killed": signal.SIGKILL, "stopped": signal.SIGTERM}
TASKS: Final = 8


def cancel(bench: Bench) -> Iterator[Figure]:
    """Cancels at the replica that does not have the task, with Redis and without."""
    with _stores() as stores:
        for name, environment in stores.items():
            settings = {"INFERENCE_ECHO__SLOTS": "1", "INFERENCE_ECHO__QUEUE": "1", **environment}
            with bench.suite("echo", *REPLICAS, **settings) as suite:
                count = bench.scaled(200)
                job = Job(
                    "cancel_elsewhere",
                    count=count,
                    target=suite.grpc["inference"],
                    options=_addresses(suite),
                )
                yield from _cancel(name, bench.runs(f"cancel elsewhere, {name}", suite, job))


def _cancel(name: str, runs: list[Run]) -> Iterator[Figure]:
    for part, what in (("answered", "answer"), ("idle", "engine idle")):
        for label in ("p50", "p99"):
            is_bar = label == "p99" and part == "idle"
            is_first = (part, label) == ("answered", "p50")
            yield Figure(
                "cancel-elsewhere",
                f"{what} {label}, {name}",
                "ms",
                [run.number(part, label) for run in runs],
                Bar(50) if is_bar else None,
                errors=errors(runs) if is_first else {},
                runs=[run.document() for run in runs] if is_first else (),
            )


def take_over(bench: Bench) -> Iterator[Figure]:
    """From the end of a replica to the first event that the other one writes of its tasks."""
    with _stores() as stores:
        for how, number in SIGNALS.items():
            runs = [_taken_over(bench, stores["Redis"], number) for _ in range(bench.times)]
            yield Figure(
                "take-over",
                f"{how}, the last of {TASKS} tasks",
                "s",
                [run.number("took", "max") / 1e3 for run in runs],
                Bar(10),
                errors=errors(runs),
                runs=[run.document() for run in runs],
            )


def _taken_over(bench: Bench, stores: dict[str, str], number: signal.Signals) -> Run:
    """In a suite of its own, whose supervisor stands still: what ended does not come back."""
    settings = {"INFERENCE_ECHO__DELAY": "2ms", **stores}
    with bench.suite("echo", *REPLICAS, **settings) as suite:
        options = {
            **_addresses(suite),
            "pid": suite.processes["orchestrator"].pid,
            "signal": int(number),
        }
        up = suite.processes["up"]
        up.suspend()
        try:
            return bench.once(Nothing(), Job("take_over", count=TASKS, options=options))
        finally:
            up.resume()


def _addresses(suite: Suite) -> dict[str, JSON]:
    return {"here": suite.grpc["orchestrator"], "there": suite.grpc["orchestrator-2"]}


@contextmanager
def _stores() -> Iterator[dict[str, dict[str, str]]]:
    """Settings of stores that replicas share."""
    with ExitStack() as stack:
        shared = {"RUNPLANE_EVENT_STORE": stack.enter_context(postgres()).url}
        hot = {"RUNPLANE_HOT_STORE": stack.enter_context(redis()).url}
        yield {"Redis": shared | hot, "no Redis": shared}
