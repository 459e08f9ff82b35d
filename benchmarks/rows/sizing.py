"""What a replica of each service carries: CPU by kind of request, memory by open stream."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import psutil

from benchmarks.bench import Bench, cpu_each, errors, together
from benchmarks.figure import Figure
from benchmarks.load.job import JSON, Job
from benchmarks.suite import Suite, seconds_of_all
from tests.servers.postgres import Postgres, postgres
from tests.servers.redis import Redis, redis

STREAMS: Final = 1000
_NOTE: Final = "32 callers, engine echo, PostgreSQL and Valkey on the same machine"
_CALCULATOR: Final[dict[str, JSON]] = {"expression": "6 * 7"}
_KINDS: Final[dict[str, Job]] = {
    "invoke": Job(
        "closed", path="/v1/agent/invoke", body={"query": "Hello"}, expect='"status":"completed"'
    ),
    "invoke, one tool": Job(
        "closed",
        path="/v1/agent/invoke",
        body={"query": 'tool:calculator {"expression": "6 * 7"}\nHello'},
        expect='"status":"completed"',
    ),
    "tool call": Job(
        "closed",
        path="/v1/tools/calculator:call",
        body={"input": dict(_CALCULATOR)},
        expect='"success"',
    ),
    "one turn of a model": Job(
        "closed",
        path="/v1/inference/generate",
        body={"messages": [{"role": "user", "content": "Hello"}]},
        expect='"stop"',
    ),
}


@dataclass(frozen=True, slots=True)
class _Whole:
    suite: Suite
    database: Postgres
    hot: Redis

    def cpu(self) -> dict[str, float]:
        """Of all processes; each store's as one."""
        stores = {"postgresql": self.database.process, "valkey": self.hot.process}
        return {**self.suite.cpu(), **{name: _seconds(of) for name, of in stores.items()}}


def _seconds(of: subprocess.Popen[bytes] | None) -> float:
    if of is None:
        raise RuntimeError("a store has ended")
    return seconds_of_all(psutil.Process(of.pid))


def sizing(bench: Bench) -> Iterator[Figure]:
    """With the stores that a cluster has."""
    with postgres() as database, redis() as hot:
        stores = {"RUNPLANE_EVENT_STORE": database.url, "RUNPLANE_HOT_STORE": hot.url}
        with bench.suite("echo", **stores) as suite:
            whole = _Whole(suite, database, hot)
            for name, kind in _KINDS.items():
                job = replace(kind, address=suite.address, callers=32, seconds=bench.scaled(8))
                yield _spent(bench, name, whole, job)
            target = suite.grpc["workflow"]
            job = Job("workflows", target=target, callers=32, seconds=bench.scaled(8))
            yield _spent(bench, "workflow of three steps", whole, job)
        yield from _open(bench, stores)


def _spent(bench: Bench, name: str, whole: _Whole, job: Job) -> Figure:
    runs = bench.runs(f"sizing, {name}", whole, job)
    return Figure(
        "sizing",
        f"CPU: {name}",
        "ms",
        [together(run, 1, 1e3) for run in runs],
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        note=_NOTE,
        runs=[run.document() for run in runs],
    )


def _open(bench: Bench, stores: Mapping[str, str]) -> Iterator[Figure]:
    """Streams whose model says nothing for a minute."""
    room = str(2 * STREAMS)
    settings = {"INFERENCE_ECHO__SLOTS": room, "ORCHESTRATOR_TASKS__MAX_RUNNING": room}
    with bench.suite("echo", **stores, **settings) as suite:
        job = Job(
            "held",
            suite.address,
            "/v1/agent/stream",
            {"query": "sleep:60000\nHello"},
            count=bench.scaled(STREAMS),
            options={"pids": {name: each.pid for name, each in suite.processes.items()}},
        )
        run = bench.once(suite, job)
    for name in ("gateway", "orchestrator", "inference"):
        kib = run.number("bytes_each", name) / 1024
        yield Figure("sizing", f"memory of {name}, an open stream", "KiB", [kib])
