"""`python -m benchmarks.load`: a job on standard input, a report on standard output."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import process_time
from typing import Final

import uvloop

from benchmarks.load import (
    appends,
    cancels,
    closed,
    elsewhere,
    fan_out,
    first_token,
    held,
    listing,
    streams,
    tool_calls,
    zipf,
)
from benchmarks.load.job import Job, Report

LONGEST: Final = 300
_WORKFLOWS: Final = "benchmarks.load.workflows"


def _brought(module: str, name: str = "run") -> Callable[[Job], Awaitable[Report]]:
    """What a module does that is imported when it is asked for."""

    async def run(job: Job) -> Report:
        run: Callable[[Job], Awaitable[Report]] = getattr(import_module(module), name)
        return await run(job)

    return run


KINDS: Final[dict[str, Callable[[Job], Awaitable[Report]]]] = {
    "appends": appends.run,
    "batches": _brought("benchmarks.load.batches"),
    "closed": closed.run,
    "streams": streams.run,
    "cancels": cancels.run,
    "cancel_elsewhere": elsewhere.cancel,
    "take_over": elsewhere.take_over,
    "fan_out": fan_out.run,
    "first_token": first_token.run,
    "held": held.run,
    "tool_calls": tool_calls.run,
    "tool_kinds": _brought("benchmarks.load.kinds"),  # With all that a client of tools needs.
    "tools_list": listing.run,
    "decisions": _brought("benchmarks.load.decisions"),
    "fallbacks": _brought("benchmarks.load.fallbacks"),  # With two services.
    "kills": _brought("benchmarks.load.fallbacks", "kills"),
    "replay": _brought("benchmarks.load.replays"),  # With all of the workflow service.
    "upstreams": _brought("benchmarks.load.upstreams"),
    "validate": tool_calls.validate,
    "zipf": zipf.run,
    "workflows": _brought(_WORKFLOWS),
    "workflow_signals": _brought(_WORKFLOWS, "signals"),
    "workflow_undos": _brought(_WORKFLOWS, "undos"),
    "workflow_waiting": _brought(_WORKFLOWS, "waiting"),
}


async def _run(job: Job) -> Report:
    began = process_time()
    async with asyncio.timeout(LONGEST):
        report = await KINDS[job.kind](job)
    return {**report, "load_cpu_seconds": process_time() - began}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(Job(**json.load(sys.stdin))))))
