"""Our stream over vLLM beside vLLM's own OpenAI server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Run, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import Job
from benchmarks.servers.vllm import Front, ours, theirs

CALLERS: Final = (1, 8, 32)
COUNTS: Final = {1: 10, 8: 5, 32: 3}
TOKENS: Final = 128
_NOTE: Final = "same model, settings and sampling; in turns, so that each has the machine"


@dataclass(frozen=True, slots=True)
class _Both:
    ours: Front
    theirs: Front

    def cpu(self) -> dict[str, float]:
        """Of the processes that pass text on, and of those with the model."""
        return {**self.ours.cpu(), **self.theirs.cpu()}


def vllm(bench: Bench) -> Iterator[Figure]:
    """1, 8 and 32 callers."""
    bench.say("starting vLLM twice, which takes a minute")
    with ours() as one, theirs() as other:
        for callers in CALLERS:
            job = Job(
                "upstreams",
                path=other.address,
                callers=callers,
                count=bench.scaled(COUNTS[callers]),
                options={"here": one.address, "tokens": TOKENS},
            )
            yield from _figures(callers, bench.runs(f"vllm x{callers}", _Both(one, other), job))


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
