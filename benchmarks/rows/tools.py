"""What a tool call costs above its function."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bench import Bench, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job


@dataclass(frozen=True, slots=True)
class Nothing:
    """No process to watch."""

    def cpu(self) -> dict[str, float]:
        """None."""
        return {}


def validate(bench: Bench) -> Iterator[Figure]:
    """In-process."""
    runs = bench.runs("validate", Nothing(), Job("validate", count=bench.scaled(50_000)))
    yield Figure(
        "validate",
        "input and output of a call",
        "ms",
        [run.number("each_ms") for run in runs],
        Bar(0.1),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )


def tool_call(bench: Bench) -> Iterator[Figure]:
    """One caller, three ways in turns."""
    with bench.echo() as suite:
        target = suite.grpc["tool_registry"]
        job = Job("tool_calls", suite.address, target=target, count=bench.scaled(1000))
        runs = bench.runs("tool-call", suite, job)
    for way, name in (("edge", "edge"), ("service", "CallTool")):
        yield Figure(
            "tool-call",
            f"{name} above the function, p50",
            "ms",
            [run.number(f"above_function_{way}_p50") for run in runs],
            Bar(2),
            errors=errors(runs) if way == "edge" else {},
            runs=[run.document() for run in runs] if way == "edge" else (),
        )
    for way in ("edge", "service"):
        yield Figure("tool-call", f"{way} p99", "ms", [run.number(way, "p99") for run in runs])
