"""What traces cost: a suite that records every one, beside one that records none."""

from collections.abc import Iterator

from benchmarks.bench import Bench, Run, cpu_each, errors, together
from benchmarks.figure import Bar, Figure
from benchmarks.rows.invoke import invokes
from tests.servers.otlp import collector

CALLERS = 32
ROUNDS = 3


def telemetry(bench: Bench) -> Iterator[Figure]:
    """Both suites at once, in turns, so that what else the machine does concerns both alike. The
    collector only counts what comes, in this process."""
    runs: dict[str, list[Run]] = {"off": [], "on": []}
    with (
        collector(is_counting=True) as sink,
        bench.suite("echo") as off,
        bench.suite("echo", RUNPLANE_TELEMETRY_ENDPOINT=sink.url) as on,
    ):
        for _ in range(ROUNDS):
            for name, suite in (("off", off), ("on", on)):
                runs[name] += bench.runs(f"telemetry {name}", suite, invokes(bench, suite, CALLERS))
        arrived = sink.count
    rates = {name: [_rate(each) for each in done] for name, done in runs.items()}
    for name, done in runs.items():
        each = [together(run, 1, 1e3) for run in done]
        cpu = cpu_each(done, 1, 1e3)
        yield Figure("telemetry", f"invokes, traces {name}", "/s", rates[name], errors=errors(done))
        yield Figure("telemetry", f"CPU an invoke, traces {name}", "ms", each, cpu=cpu)
    lost = [(1 - on / off) * 100 for off, on in zip(rates["off"], rates["on"], strict=True)]
    yield Figure("telemetry", "throughput that traces cost", "%", lost, Bar(5.0))
    answered = sum(run.number("count") for run in runs["on"])
    note = "those of warming up are among them"
    yield Figure("telemetry", "spans an invoke", "", [arrived / max(answered, 1)], note=note)


def _rate(run: Run) -> float:
    return run.number("count") / run.number("seconds")
