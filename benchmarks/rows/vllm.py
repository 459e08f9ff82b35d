"""Our stream over vLLM beside vLLM's own OpenAI server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Run, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.servers.vllm import Front, ours, theirs

CALLERS: Final = (1, 8, 32)
COUNTS: Final = {1: 5, 8: 3, 32: 2}
TOKENS: Final = 128
_NOTE: Final = (
    "same model, settings and sampling; in turns, so that each has the machine; each started first "
    "in one half of the runs"
)


@dataclass(frozen=True, slots=True)
class _Both:
    ours: Front
    theirs: Front

    def cpu(self) -> dict[str, float]:
        """Of the processes that pass text on, and of those with the model."""
        return {**self.ours.cpu(), **self.theirs.cpu()}


def vllm(bench: Bench) -> Iterator[Figure]:
    """1, 8 and 32 callers.

    Of two engines on one machine the one that was started first is up to a tenth slower, whosever
    it is (seen with two of the same kind): so each goes first once.
    """
    seen: dict[int, list[Run]] = {callers: [] for callers in CALLERS}
    for is_ours_first in (True, False):
        bench.say(f"starting vLLM twice, {'ours' if is_ours_first else 'its own server'} first")
        with _both(is_ours_first=is_ours_first) as both:
            for callers in CALLERS:
                job = Job(
                    "upstreams",
                    path=both.theirs.address,
                    callers=callers,
                    count=bench.scaled(COUNTS[callers]),
                    options={"here": both.ours.address, "tokens": TOKENS},
                )
                seen[callers] += bench.runs(f"vllm x{callers}", both, job)
    for callers, runs in seen.items():
        yield from _figures(callers, runs)


@contextmanager
def _both(*, is_ours_first: bool) -> Iterator[_Both]:
    if is_ours_first:
        with ours() as one, theirs() as other:
            yield _Both(one, other)
    else:
        with theirs() as other, ours() as one:
            yield _Both(one, other)


def _figures(callers: int, runs: list[Run]) -> Iterator[Figure]:
    row = f"vllm x{callers}"
    for way, name in (("here", "ours"), ("http", "vLLM's own server")):
        is_first = way == "here"
        rates = [run.number(way, "tokens_per_second") for run in runs]
        yield Figure(
            row,
            f"{name}, tokens/s",
            "",
            rates,
            errors=errors(runs) if is_first else {},
            note=_NOTE,
            runs=[run.document() for run in runs] if is_first else (),
        )
        yield Figure(row, f"{name}, first text p50", "ms", [run.number(way, "p50") for run in runs])
        yield Figure(row, f"{name}, CPU a token", "µs", [_cpu(run, name) for run in runs])
    ratios = [
        run.number("here", "tokens_per_second") / run.number("http", "tokens_per_second")
        for run in runs
    ]
    above = [run.number("here", "p50") - run.number("http", "p50") for run in runs]
    yield Figure(row, "tokens/s of its own server's", "", ratios, Bar(1, is_least=True))
    yield Figure(row, "first text above its own server's", "ms", above, Bar(5))


def _cpu(run: Run, name: str) -> float:
    """Of the process that passes them on; what fills the caches is in it, too."""
    asked = run.number("count") * (1 + 1 / run.number("turns"))
    return run.cpu[name] * 1e6 / (asked * TOKENS)
