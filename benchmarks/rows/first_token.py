"""What our two hops add to the time to first token."""

from collections.abc import Iterator

from benchmarks.bench import Bench, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.suite import Suite


def echo(bench: Bench) -> Iterator[Figure]:
    """With echo."""
    with bench.echo() as suite:
        yield from _first_token(bench, suite, "ttft", "echo", bench.scaled(500))


def model(bench: Bench) -> Iterator[Figure]:
    """With the embedded model."""
    with bench.suite("llamacpp") as suite:
        yield from _first_token(bench, suite, "ttft-model", "llamacpp", bench.scaled(100))


def _first_token(bench: Bench, suite: Suite, row: str, engine: str, count: int) -> Iterator[Figure]:
    job = Job(
        "first_token",
        suite.address,
        target=suite.grpc["inference"],
        engine=engine,
        count=count,
        options={"query": "Say hello."},
    )
    runs = bench.runs(row, suite, job)
    bars = {"p50": Bar(5), "p99": Bar(15)}
    for label, bar in bars.items():
        yield Figure(
            row,
            f"edge above the engine, {label}",
            "ms",
            [run.number(f"above_engine_{label}") for run in runs],
            bar,
            errors=errors(runs) if label == "p50" else {},
            note="differences of quantiles, the ways in turns",
            runs=[run.document() for run in runs] if label == "p50" else (),
        )
    for label in bars:
        values = [run.number(f"above_service_{label}") for run in runs]
        yield Figure(row, f"edge above StreamGenerate, {label}", "ms", values)
    for way in ("edge", "service", "engine"):
        yield Figure(row, f"{way} p50", "ms", [run.number(way, "p50") for run in runs])
