"""What it costs to write workflows' events, to read them again, and to verify them."""

import tempfile
from collections.abc import Iterator

from benchmarks.bench import Bench, errors
from benchmarks.figure import Figure
from benchmarks.load.job import Job
from benchmarks.rows.tools import Nothing


def replay(bench: Bench) -> Iterator[Figure]:
    """In-process, on SQLite: workflows of three steps with what undoes them."""
    runs = []
    for _ in range(bench.times):
        with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder:
            options = {"url": f"sqlite:///{folder}"}
            job = Job("replay", count=bench.scaled(2000), options=options)
            runs.append(bench.once(Nothing(), job))
            bench.say(f"replay: run {len(runs)}")
    note = f"{runs[0].number('events_each'):g} events a workflow"
    for name, unit, of in (
        ("events in memory, folded", "/s", "decode_fold"),
        ("loaded from SQLite", "events/s", "load"),
        ("verified from SQLite", "events/s", "verify"),
        ("verified, CPU a workflow", "ms", "verify_cpu_ms"),
        ("encoded, an event", "µs", "encode_us"),
    ):
        values = [run.number(of) for run in runs]
        is_first = of == "decode_fold"
        yield Figure(
            "replay",
            name,
            unit,
            values,
            errors=errors(runs) if is_first else {},
            note=note,
            runs=[run.document() for run in runs] if is_first else (),
        )
