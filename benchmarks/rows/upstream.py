"""llama.cpp in our process beside its own HTTP server, and our engine over that server."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Run, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.servers.llamacpp import CONTEXT_TOKENS, SLOTS, THREADS
from benchmarks.servers.running import Server, serving
from benchmarks.suite import Suite

CALLERS: Final = (1, 8)
COUNTS: Final = {1: 30, 8: 6}
WAYS: Final[Mapping[str, str]] = {
    "here": "our stream, in-process",
    "http": "llama.cpp's own server",
    "through": "our stream over its server",
}
NOTE: Final = (
    "same model, slots, threads and sampling, but for `dry`, which our engine over HTTP does not "
    "ask for; the ways in turns, prompts cached; each started first in one half of the runs"
)
_SETTINGS: Final = {
    "INFERENCE_LLAMACPP__SLOTS": str(SLOTS),
    "INFERENCE_LLAMACPP__CONTEXT_TOKENS": str(CONTEXT_TOKENS),
}


@dataclass(frozen=True, slots=True)
class _All:
    here: Suite
    through: Suite
    server: Server

    def cpu(self) -> dict[str, float]:
        """Of the processes that pass text on; the edge has nothing to do."""
        return {
            "inference with the model": self.here.cpu()["inference"],
            "inference over HTTP": self.through.cpu()["inference"],
            **self.server.cpu(),
        }


def upstream(bench: Bench) -> Iterator[Figure]:
    """One caller and eight; each model computes on every CPU."""
    yield from _beside(bench, "upstream")


def spare(bench: Bench) -> Iterator[Figure]:
    """The same, but that each model leaves a CPU to what passes its text on."""
    threads = max(1, len(os.sched_getaffinity(0)) - 1)
    yield from _beside(bench, "upstream-spare", **{THREADS: str(threads)})


def _beside(bench: Bench, row: str, **settings: str) -> Iterator[Figure]:
    """Which engine was started first makes some 2 % of the tokens a second: so each goes first
    once."""
    seen: dict[int, list[Run]] = {callers: [] for callers in CALLERS}
    for is_ours_first in (True, False):
        with _all(bench, settings, is_ours_first=is_ours_first) as ways:
            ports = {
                "here": ways.here.grpc["inference"],
                "through": ways.through.grpc["inference"],
            }
            for callers in CALLERS:
                job = Job(
                    "upstreams",
                    path=ways.server.address,
                    callers=callers,
                    count=bench.scaled(COUNTS[callers]),
                    options=dict(ports),
                )
                seen[callers] += bench.runs(f"{row} x{callers}", ways, job)
    for callers, runs in seen.items():
        yield from _figures(f"{row} x{callers}", runs)


@contextmanager
def _all(bench: Bench, settings: Mapping[str, str], *, is_ours_first: bool) -> Iterator[_All]:
    with ExitStack() as stack:
        own = bench.suite("llamacpp", **_SETTINGS, **settings)
        here = stack.enter_context(own) if is_ours_first else None
        server = stack.enter_context(serving("llamacpp", **settings))
        here = here or stack.enter_context(own)
        named = ("--upstream", f"http://{server.address}/v1", "--upstream-model", "smollm2")
        dialect = ("--upstream-dialect", "llamacpp")
        through = stack.enter_context(bench.suite("openai", *named, *dialect))
        yield _All(here, through, server)


def _figures(row: str, runs: list[Run]) -> Iterator[Figure]:
    for way, name in WAYS.items():
        is_first = way == "here"
        yield Figure(
            row,
            f"{name}, tokens/s",
            "",
            [run.number(way, "tokens_per_second") for run in runs],
            errors=errors(runs) if is_first else {},
            note=NOTE,
            runs=[run.document() for run in runs] if is_first else (),
        )
    for way, name in WAYS.items():
        values = [run.number(way, "p50") for run in runs]
        yield Figure(row, f"{name}, first text p50", "ms", values)
    for way in ("here", "through"):  # The bars are those of an engine in our process.
        rates = [_rate(run, way) for run in runs]
        above = [run.number(way, "p50") - run.number("http", "p50") for run in runs]
        least, most = (Bar(1, is_least=True), Bar(5)) if way == "here" else (None, None)
        yield Figure(row, f"{WAYS[way]}: tokens/s of its server's", "", rates, least)
        yield Figure(row, f"{WAYS[way]}: first text above its server's", "ms", above, most)


def _rate(run: Run, way: str) -> float:
    return run.number(way, "tokens_per_second") / run.number("http", "tokens_per_second")
