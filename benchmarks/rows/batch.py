"""What a batch costs those who wait for an answer."""

from collections.abc import Iterator

from benchmarks.bench import Bench, errors
from benchmarks.figure import Figure
from benchmarks.load.job import JSON, Job

NOTE = "four slots; a batch of 1,000 items is started and canceled again, in turns with none"


def echo(bench: Bench) -> Iterator[Figure]:
    """With echo, at 5 ms a token."""
    settings = {"INFERENCE_ECHO__SLOTS": "4", "INFERENCE_ECHO__DELAY": "PT0.005S"}
    options: dict[str, JSON] = {
        "query": "tokens:16",
        "tokens": 16,
        "item": "tokens:100\n",
        "item_tokens": 100,
    }
    yield from _batch(bench, "batch", "echo", options, bench.scaled(1_000), settings)


def model(bench: Bench) -> Iterator[Figure]:
    """With the embedded model."""
    options: dict[str, JSON] = {
        "query": "Say hello to the sea.",
        "tokens": 16,
        "item": "Write a long story about the sea, number",
        "item_tokens": 100,
    }
    yield from _batch(bench, "batch-model", "llamacpp", options, bench.scaled(200), {})


def _batch(  # noqa: PLR0913, PLR0917 - all that the two rows differ in
    bench: Bench,
    row: str,
    engine: str,
    options: dict[str, JSON],
    count: int,
    settings: dict[str, str],
) -> Iterator[Figure]:
    with bench.suite(engine, **settings) as suite:
        target = suite.grpc["inference"]
        for callers in (1, 6):
            job = Job(
                "batches",
                suite.address,
                callers=callers,
                count=count,
                target=target,
                options=options,
            )
            runs = bench.runs(row, suite, job)
            who = "1 caller" if callers == 1 else f"{callers} callers"
            for part, name in (("alone", "TTFT alone"), ("beside", "TTFT beside a batch")):
                for label in ("p50", "p99"):
                    is_first = (part, label) == ("alone", "p50")
                    yield Figure(
                        row,
                        f"{who}: {name} {label}",
                        "ms",
                        [run.number(part, label) for run in runs],
                        errors=errors(runs) if is_first else {},
                        note=NOTE,
                        runs=[run.document() for run in runs] if is_first else (),
                    )
            values = [run.number("batch_tokens_s") for run in runs]
            yield Figure(row, f"{who}: the batch meanwhile", "tokens/s", values)
            values = [run.number("failed_items") for run in runs]
            yield Figure(row, f"{who}: items that failed", "", values)
