"""Runs jobs against suites and adds up what the processes spent meanwhile."""

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import monotonic
from typing import Final, Protocol, cast

import psutil

from benchmarks import suite as suites
from benchmarks.load.job import JSON, Job, Report

LOAD_SECONDS: Final = 330
UNCACHED: Final = {"ORCHESTRATOR_CACHE__ENABLED": "false"}
"""What rows measure is done, and not remembered."""
NOISY: Final = 0.35
"""Cores that others used during a run; above it, the run is repeated."""
MORE_RUNS: Final = 2


class Measured(Protocol):
    """Something whose processes are watched: a suite, or Envoy with one."""

    def cpu(self) -> dict[str, float]:
        """Seconds by process."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job."""

    report: Report
    cpu: Mapping[str, float]
    """Seconds by process, ours and `load`."""
    others: float
    """Cores that processes which are not ours used meanwhile."""

    def number(self, *path: str) -> float:
        """A number of the report."""
        found: JSON = self.report
        for name in path:
            found = cast("dict[str, JSON]", found)[name]
        return float(cast("float", found))

    def document(self) -> JSON:
        """As JSON."""
        return {**self.report, "cpu_seconds": dict(self.cpu), "others_cores": self.others}


class Bench:
    """What rows measure with."""

    def __init__(self, *, is_quick: bool, say: Callable[[str], None]) -> None:
        self.is_quick = is_quick
        self.say = say
        self.times = 1 if is_quick else 3
        self._stack = ExitStack()
        self._echo: suites.Suite | None = None

    def scaled(self, full: int) -> int:
        """A number of seconds or repetitions, a fifth of it in a quick run."""
        return max(full // 5, 1) if self.is_quick else full

    def suite(
        self, engine: str, *arguments: str, **environment: str
    ) -> AbstractContextManager[suites.Suite]:
        """A suite of this row's own; without a response cache, unless the environment says so."""
        self.say(f"starting a suite with {' '.join((engine, *arguments))} {environment or ''}")
        return suites.running(engine, UNCACHED | environment, arguments)

    @contextmanager
    def echo(self) -> Iterator[suites.Suite]:
        """The suite with echo and default settings that rows share."""
        if self._echo is None:
            self._echo = self._stack.enter_context(self.suite("echo"))
        yield self._echo

    def close(self) -> None:
        """Stop what is shared."""
        self._stack.close()

    def once(self, measured: Measured, job: Job) -> Run:
        """Do a job and see what it costs."""
        before, busy, own = measured.cpu(), _busy(), _own()
        began = monotonic()
        report = _load(job)
        took = monotonic() - began
        after = measured.cpu()
        spent = {name: after[name] - before[name] for name in after}
        ours = sum(spent.values()) + _own() - own
        others = max((_busy() - busy - ours) / took, 0.0)
        spent["load"] = float(cast("float", report["load_cpu_seconds"]))
        return Run(report, spent, others)

    def runs(self, name: str, measured: Measured, job: Job) -> list[Run]:
        """The job, so often; again where the machine was busy with something else."""
        self.once(measured, warm_up(job))
        done: list[Run] = []
        while len(done) < self.times + (MORE_RUNS if not self.is_quick else 0):
            run = self.once(measured, job)
            done.append(run)
            busy = f"; {run.others:.1f} cores busy elsewhere" if run.others > NOISY else ""
            self.say(f"{name}: run {len(done)}{busy}")
            if sum(each.others <= NOISY for each in done) >= self.times:
                break
        return sorted(done, key=lambda each: each.others)[: self.times]


def warm_up(job: Job) -> Job:
    """A short piece of the same job."""
    return replace(
        job, seconds=min(job.seconds, 0.5), count=max(job.count // 10, min(job.count, 1))
    )


def cpu_each(runs: Sequence[Run], each: float, per: float) -> dict[str, float]:
    """Medians by process: CPU for each of the `each` things in a good answer, `per` a second."""
    names = runs[0].cpu
    return {
        name: median(run.cpu[name] * per / max(run.number("count") * each, 1) for run in runs)
        for name in names
    }


def together(run: Run, each: float, per: float) -> float:
    """All our processes, without the load's own."""
    spent = sum(value for name, value in run.cpu.items() if name != "load")
    return spent * per / max(run.number("count") * each, 1)


def errors(runs: Sequence[Run]) -> dict[str, int]:
    """Of all runs."""
    found: Counter[str] = Counter()
    for run in runs:
        found.update(cast("dict[str, int]", run.report["errors"]))
    return dict(found)


def _load(job: Job) -> Report:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        env={**os.environ, "GRPC_VERBOSITY": "ERROR"},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr[-3000:]}")
    return cast("Report", json.loads(done.stdout))


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _own() -> float:
    """This process and the loads that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
