"""More callers than the queues hold: all that is refused is refused politely."""

from collections.abc import Iterator

from benchmarks.bench import Bench, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job

POLITE = ("429 with Retry-After", "503 with Retry-After")


def overload(bench: Bench) -> Iterator[Figure]:
    """64 callers; few tasks at a time, and then few slots of the engine."""
    tasks = {"ORCHESTRATOR_TASKS__MAX_RUNNING": "8", "ORCHESTRATOR_TASKS__MAX_QUEUED": "8"}
    engine = {"INFERENCE_ECHO__SLOTS": "4", "INFERENCE_ECHO__QUEUE": "4"}
    for row, settings in (("overload tasks", tasks), ("overload engine", engine)):
        with bench.suite("echo", **settings) as suite:
            job = Job(
                "closed",
                suite.address,
                "/v1/agent/invoke",
                {"query": "sleep:20\nHello"},
                expect='"status":"completed","result":"Hello"',
                callers=64,
                seconds=5,
            )
            runs = bench.runs(row, suite, job)
        found = errors(runs)
        others = {what: count for what, count in found.items() if what not in POLITE}
        polite = sum(found.values()) - sum(others.values())
        yield Figure(
            row,
            "errors but 429 and 503 with Retry-After",
            "",
            [sum(others.values())],
            Bar(0),
            errors=others,
            note=f"{polite} were asked to come back later",
            runs=[run.document() for run in runs],
        )
        rates = [run.number("count") / run.number("seconds") for run in runs]
        yield Figure(row, "good answers", "/s", rates)
        yield Figure(row, "good answers p99", "ms", [run.number("latency", "p99") for run in runs])
