"""Lists of tools, and MCP at the edge beside the official SDK's own server."""

from collections.abc import Iterator
from typing import Final

from benchmarks.bench import Bench, Run, cpu_each, errors, together
from benchmarks.figure import Figure
from benchmarks.load import mcp
from benchmarks.load.job import JSON, Job
from benchmarks.rows.kinds import posted
from benchmarks.servers.running import serving

TOOLS: Final = 1000
_CALLERS: Final = (1, 32)
_INPUT: Final[dict[str, JSON]] = {"expression": "12*7"}
_SCHEMA: Final[JSON] = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "A city."},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location"],
    "additionalProperties": False,
}


def tools_list(bench: Bench) -> Iterator[Figure]:
    """All of 1,000 registered tools, in as many pages as there are."""
    with bench.suite("echo") as suite:
        bench.say(f"tools-list: registering {TOOLS} tools")
        for number in range(TOOLS):
            posted(suite, "/v1/tools", _tool(number))
        job = Job(
            "tools_list",
            suite.address,
            target=suite.grpc["tool_registry"],
            count=bench.scaled(50),
            options={"tools": TOOLS},
        )
        runs = bench.runs("tools-list", suite, job)
    for way, name in (("registry", "ListTools"), ("edge", "GET /v1/tools"), ("mcp", "tools/list")):
        for share in ("p50", "p99"):
            is_last = (way, share) == ("mcp", "p99")
            yield Figure(
                "tools-list",
                f"{name}, {TOOLS:,} tools, {share}",
                "ms",
                [run.number(way, share) for run in runs],
                errors=errors(runs) if is_last else {},
                runs=[run.document() for run in runs] if is_last else (),
            )
    if found := errors(runs):
        raise RuntimeError(f"not every list was as it should be: {found}")


def _tool(number: int) -> dict[str, JSON]:
    return {
        "name": f"weather-{number:04}",
        "description": "Says what the weather is like at a place, in the unit that is asked for.",
        "input_schema": _SCHEMA,
        "is_idempotent": True,
        "http": {"method": "GET", "url": "http://127.0.0.1:9/weather/{location}"},
    }


def calls(bench: Bench) -> Iterator[Figure]:
    """`tools/call` of one tool at both, in turns."""
    with bench.suite("echo") as suite, serving("mcp") as official:
        for callers in _CALLERS:
            ours: list[Run] = []
            theirs: list[Run] = []
            for turn in range(bench.times + 1):
                mine = bench.once(suite, _job(bench, suite.address, callers))
                their = bench.once(official, _job(bench, official.address, callers))
                if failed := [run for run in (mine, their) if not run.number("count")]:
                    raise RuntimeError(f"no call of tools/call is answered: {errors(failed)}")
                if turn:  # The first one warms up.
                    ours.append(mine)
                    theirs.append(their)
                    bench.say(f"mcp: {callers} callers, run {turn}")
            yield from _figures(callers, ours, theirs)


def _job(bench: Bench, address: str, callers: int) -> Job:
    return Job(
        "closed",
        address,
        mcp.PATH,
        mcp.body("tools/call", name="calculator", arguments=_INPUT),
        expect='"value":84',
        callers=callers,
        seconds=bench.scaled(5),
        headers=mcp.headers("tools/call", "calculator"),
    )


def _figures(callers: int, ours: list[Run], theirs: list[Run]) -> Iterator[Figure]:
    for name, runs in (("edge", ours), ("SDK", theirs)):
        row = f"mcp x{callers}: {name}"
        yield Figure(
            row,
            "tools/call",
            "/s",
            [_rate(run) for run in runs],
            errors=errors(runs),
            runs=[run.document() for run in runs],
        )
        yield Figure(
            row,
            "CPU a request, all processes",
            "ms",
            [together(run, 1, 1e3) for run in runs],
            cpu=cpu_each(runs, 1, 1e3),
        )
        for share in ("p50", "p99"):
            values = [run.number("latency", share) for run in runs]
            yield Figure(row, share, "ms", values)
    pairs = zip(ours, theirs, strict=True)
    ratios = [_rate(mine) / _rate(their) for mine, their in pairs]
    yield Figure(f"mcp x{callers}", "our rate by the SDK's", "", ratios)


def _rate(run: Run) -> float:
    return run.number("count") / run.number("seconds")
