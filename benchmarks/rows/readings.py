"""Labels and vectors of texts: what the model takes, and what we take on top."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from benchmarks.bench import Bench, cpu_each, errors
from benchmarks.figure import Figure
from benchmarks.load.job import JSON, Job
from benchmarks.suite import Suite

LABELS: Final[list[JSON]] = ["POSITIVE", "NEGATIVE", "NEUTRAL"]
TEXT: Final = "The film was long, and I would see it again tomorrow."
TOGETHER: Final = 32

CLASSIFY: Final[dict[str, JSON]] = {"input": TEXT, "labels": LABELS}
CHOOSE: Final[dict[str, JSON]] = {
    "messages": [
        {
            "role": "system",
            "content": f"Classify the text as one of {', '.join(map(str, LABELS))}.",
        },
        {"role": "user", "content": TEXT},
    ],
    "response_schema": {"enum": LABELS},
}
"""The other way to a label: an answer that a schema binds, without a score."""


def classify(bench: Bench) -> Iterator[Figure]:
    """Three labels: with echo, where all is ours; with the embedded model; and a bound answer."""
    with bench.echo() as suite:
        for callers in (1, 32):
            job = _job(suite, "classify", CLASSIFY, '"score":')
            job = replace(job, callers=callers, seconds=bench.scaled(4))
            yield from _figures(bench, suite, f"classify echo x{callers}", job)
    with bench.suite("llamacpp") as suite:
        job = replace(_job(suite, "classify", CLASSIFY, '"score":'), seconds=bench.scaled(10))
        yield from _figures(bench, suite, "classify model", job)
        job = replace(_job(suite, "generate", CHOOSE, '"stop"'), seconds=bench.scaled(10))
        yield from _figures(bench, suite, "classify bound answer", job)


def embed(bench: Bench) -> Iterator[Figure]:
    """One text a request, and several."""
    with bench.suite("llamacpp", INFERENCE_LLAMACPP__IS_EMBEDDING="true") as suite:
        for texts in (1, TOGETHER):
            body: dict[str, JSON] = {"inputs": [f"{number}: {TEXT}" for number in range(texts)]}
            job = replace(_job(suite, "embed", body, '"values":'), seconds=bench.scaled(10))
            yield from _figures(bench, suite, f"embed model x{texts}", job, texts=texts)


def _job(suite: Suite, verb: str, body: dict[str, JSON], expect: str) -> Job:
    return Job("closed", suite.address, f"/v1/inference/{verb}", body, expect=expect)


def _figures(bench: Bench, suite: Suite, row: str, job: Job, *, texts: int = 1) -> Iterator[Figure]:
    runs = bench.runs(row, suite, job)
    yield Figure(
        row,
        "p50",
        "ms",
        [run.number("latency", "p50") for run in runs],
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        note=f"{texts} texts a request" if texts > 1 else "the same text again and again",
        runs=[run.document() for run in runs],
    )
    rates = [texts * run.number("count") / run.number("seconds") for run in runs]
    yield Figure(row, "texts", "/s", rates)
