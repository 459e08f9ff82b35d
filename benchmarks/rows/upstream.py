"""llama.cpp in our process beside its own HTTP server, and our engine over that server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
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
    "through": "our stream over its server",
}
SERVER: Final = "llama.cpp's own server"
SHARES: Final[Mapping[str, int]] = {"here": 1, "through": 3}
"""The one with bars is measured longest."""
NOTE: Final = (
    "same model, slots, threads and sampling, but for `dry`, which our engine over HTTP does not "
    "ask for; in turns with the server, prompts cached; each started first in one half of the runs"
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

    def ours(self) -> Mapping[str, Suite]:
        """Our ways, by name."""
        return {"here": self.here, "through": self.through}

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
    """Each of our ways takes turns with the server alone, so that either follows the other: what
    follows itself may find its model in the CPU's caches. Which engine was started first makes some
    2 % of the tokens a second, too: so each goes first once."""
    seen: dict[tuple[int, str], list[Run]] = {}
    for is_ours_first in (True, False):
        with _all(bench, settings, is_ours_first=is_ours_first) as ways:
            for callers, (way, suite) in product(CALLERS, ways.ours().items()):
                job = Job(
                    "upstreams",
                    path=ways.server.address,
                    callers=callers,
                    count=bench.scaled(COUNTS[callers] // SHARES[way]),
                    options={way: suite.grpc["inference"]},
                )
                runs = bench.runs(f"{row} x{callers} {way}", ways, job)
                seen.setdefault((callers, way), []).extend(runs)
    for callers in CALLERS:
        of = {way: seen[callers, way] for way in SHARES}
        yield from _figures(f"{row} x{callers}", of)


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


def _figures(row: str, runs: Mapping[str, Sequence[Run]]) -> Iterator[Figure]:
    here, names = runs["here"], {**WAYS, "http": SERVER}
    for way in ("here", "http"):
        is_first = way == "here"
        yield Figure(
            row,
            f"{names[way]}, tokens/s",
            "",
            [run.number(way, "tokens_per_second") for run in here],
            errors=errors(here) if is_first else {},
            note=NOTE,
            runs=[run.document() for run in here] if is_first else (),
        )
    for way in ("here", "http"):
        values = [run.number(way, "p50") for run in here]
        yield Figure(row, f"{names[way]}, first text p50", "ms", values)
    for way, of in runs.items():  # The bars are those of an engine in our process.
        whole, stream = (
            [run.number(way, kind) / run.number("http", kind) for run in of]
            for kind in ("tokens_per_second", "stream_tokens_per_second")
        )
        above = [run.number(way, "p50") - run.number("http", "p50") for run in of]
        least, most = (Bar(1, is_least=True), Bar(5)) if way == "here" else (None, None)
        name = WAYS[way]
        yield Figure(row, f"{name}: tokens/s of its server's", "", whole, least)
        yield Figure(row, f"{name}: the same after the first text", "", stream)
        yield Figure(row, f"{name}: first text above its server's", "ms", above, most)
