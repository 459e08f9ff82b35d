"""What traces cost: a suite that records every one, beside one that records none."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.bench import Bench, Run, cpu_each, errors, together, warm_up
from benchmarks.figure import Bar, Figure
from benchmarks.rows.invoke import invokes
from benchmarks.suite import Suite
from tests.servers.otlp import counter

CALLERS = 32
PAIRS = 60
SECONDS = 1.0


def telemetry(bench: Bench) -> Iterator[Figure]:
    """Both suites at once, in short turns, each first in every other pair: what else the machine
    does, which is more than what is measured, concerns both alike. The collector keeps what comes
    as it is, in this process."""
    runs: dict[str, list[Run]] = {"off": [], "on": []}
    with (
        counter() as sink,
        bench.suite("echo") as off,
        bench.suite("echo", RUNPLANE_TELEMETRY_ENDPOINT=sink.url) as on,
    ):
        suites = {"off": off, "on": on}
        for suite in suites.values():
            bench.once(suite, warm_up(invokes(bench, suite, CALLERS)))
        before = sink.count
        for pair in range(bench.scaled(PAIRS)):
            for name in ("off", "on") if pair % 2 else ("on", "off"):
                runs[name].append(_once(bench, suites[name]))
            if pair % 10 == 9:
                bench.say(f"telemetry: pair {pair + 1}")
        arrived = sink.count - before
    rates = {name: [_rate(each) for each in done] for name, done in runs.items()}
    cpu = {name: [together(run, 1, 1e3) for run in done] for name, done in runs.items()}
    for name, done in runs.items():
        each = cpu_each(done, 1, 1e3)
        yield Figure("telemetry", f"invokes, traces {name}", "/s", rates[name], errors=errors(done))
        yield Figure("telemetry", f"CPU an invoke, traces {name}", "ms", cpu[name], cpu=each)
    lost = [(1 - on / off) * 100 for off, on in zip(rates["off"], rates["on"], strict=True)]
    more = [(on / off - 1) * 100 for off, on in zip(cpu["off"], cpu["on"], strict=True)]
    yield Figure("telemetry", "throughput that traces cost", "%", lost, Bar(5.0))
    yield Figure("telemetry", "CPU that traces cost", "%", more)
    answered = sum(run.number("count") for run in runs["on"])
    yield Figure("telemetry", "spans an invoke", "", [arrived / max(answered, 1)])


def _once(bench: Bench, suite: Suite) -> Run:
    return bench.once(suite, replace(invokes(bench, suite, CALLERS), seconds=SECONDS))


def _rate(run: Run) -> float:
    return run.number("count") / run.number("seconds")
