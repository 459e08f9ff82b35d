"""What an answer from the response cache takes, beside one that a model is asked for."""

from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.bench import Bench, cpu_each, errors, together
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import JSON, Job
from benchmarks.suite import Suite

WAYS: Final[Mapping[str, tuple[dict[str, str], str]]] = {
    "hit": ({}, '"cached":true'),
    "miss": ({"cache-control": "no-cache"}, '"cached":false'),
    "without a cache": ({"cache-control": "no-store"}, '"cached":false'),
}
"""What is sent along, and what the answer has. A miss is hashed and kept."""
PATH: Final = "/v1/agent/invoke"
ASKED: Final[dict[str, JSON]] = {"tool_choice": "none", "sampling": {"temperature": 0}}
CALLERS: Final = {"echo": (1, 32), "llamacpp": (1,)}


def cache(bench: Bench) -> Iterator[Figure]:
    """One question again and again through edge and orchestrator: with echo, which takes no time by
    itself, and with the embedded model."""
    for engine, callers in CALLERS.items():
        with bench.suite(engine, ORCHESTRATOR_CACHE__ENABLED="true") as suite:
            for count in callers:
                for way in WAYS:
                    job = _job(bench, suite.address, way, callers=count)
                    row = f"cache {engine} x{count}"
                    runs = bench.runs(f"{row}: {way}", suite, job)
                    for label in ("p50", "p99"):
                        yield Figure(
                            row,
                            f"{way}, {label}",
                            "ms",
                            [run.number("latency", label) for run in runs],
                            errors=errors(runs) if label == "p50" else {},
                            runs=[run.document() for run in runs] if label == "p50" else (),
                        )
                    spent = [together(run, 1, 1e3) for run in runs]
                    yield Figure(row, f"{way}, CPU", "ms", spent, cpu=cpu_each(runs, 1, 1e3))
            if engine == "echo":
                yield from _zipf(bench, suite)


def _zipf(bench: Bench, suite: Suite) -> Iterator[Figure]:
    """How many of the questions are hits that people ask, from an empty cache on."""
    job = Job(
        "zipf",
        suite.address,
        PATH,
        ASKED,
        expect='"status":"completed"',
        callers=8,
        count=bench.scaled(4_000),
        options={"questions": bench.scaled(400)},
    )
    runs = bench.runs("cache zipf", suite, job)
    yield Figure(
        "cache zipf",
        "hits",
        "%",
        [run.number("hits") * 100 / max(run.number("count"), 1) for run in runs],
        Bar(80, is_least=True),
        errors=errors(runs),
        note=f"{job.count:,} requests for {job.options['questions']:,} questions, s = 1",
        runs=[run.document() for run in runs],
    )


def _job(bench: Bench, address: str, way: str, *, callers: int) -> Job:
    headers, expect = WAYS[way]
    return Job(
        "closed",
        address,
        PATH,
        {**ASKED, "query": "Say hello."},
        expect=expect,
        callers=callers,
        seconds=bench.scaled(5),
        headers=headers,
    )
