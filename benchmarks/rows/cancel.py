"""From the cancel of a generating task to its answer and to an idle engine."""

from collections.abc import Iterator

from benchmarks.bench import Bench, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import JSON, Job
from benchmarks.suite import Suite

NOTE = "one slot; idle is when a generation that waits for the slot gets it"


def echo(bench: Bench) -> Iterator[Figure]:
    """While it sleeps, and between paced tokens."""
    with bench.suite("echo", INFERENCE_ECHO__SLOTS="1") as suite:
        body: dict[str, JSON] = {"query": "sleep:60000", "tool_choice": "none"}
        options: dict[str, JSON] = {"silent": True}
        job = _job(suite, body, bench.scaled(200), options)
        yield from _cancel(bench, suite, "cancel", job)
    slow = {"INFERENCE_ECHO__SLOTS": "1", "INFERENCE_ECHO__DELAY": "PT0.005S"}
    with bench.suite("echo", **slow) as suite:
        body = {"query": "tokens:10000", "tool_choice": "none"}
        job = _job(suite, body, bench.scaled(200), {})
        yield from _cancel(bench, suite, "cancel paced", job)


def model(bench: Bench) -> Iterator[Figure]:
    """While it writes."""
    with bench.suite("llamacpp", INFERENCE_LLAMACPP__SLOTS="1") as suite:
        body: dict[str, JSON] = {
            "query": "Write a long story about the sea.",
            "tool_choice": "none",
            "sampling": {"max_tokens": 500},
        }
        job = _job(suite, body, bench.scaled(20), {})
        yield from _cancel(bench, suite, "cancel-model", job)


def _job(suite: Suite, body: dict[str, JSON], count: int, options: dict[str, JSON]) -> Job:
    return Job(
        "cancels",
        suite.address,
        "/v1/agent/stream",
        body,
        count=count,
        target=suite.grpc["inference"],
        options=options,
    )


def _cancel(bench: Bench, suite: Suite, row: str, job: Job) -> Iterator[Figure]:
    runs = bench.runs(row, suite, job)
    is_model = "model" in row
    for part, name in (("answered", "answer"), ("idle", "engine idle")):
        for label in ("p50", "p99"):
            is_first = (part, label) == ("answered", "p50")
            yield Figure(
                row,
                f"{name} {label}",
                "ms",
                [run.number(part, label) for run in runs],
                Bar(50) if label == "p99" and not is_model else None,
                errors=errors(runs) if is_first else {},
                note=NOTE,
                runs=[run.document() for run in runs] if is_first else (),
            )
