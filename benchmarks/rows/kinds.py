"""What a call of a tool costs above its function, for each kind of tool."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Final, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks.bench import Bench, Run, cpu_each, errors
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import JSON, Job
from benchmarks.servers.adding import METHOD
from benchmarks.servers.running import STDIO, Server, With, serving
from benchmarks.suite import Suite

CALLERS: Final = (1, 32)
COUNTS: Final = {1: 500, 32: 3200}
_NUMBERS: Final[dict[str, JSON]] = {"a": 1.5, "b": 2}
_SCHEMA: Final[JSON] = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
_TOOL: Final[dict[str, JSON]] = {
    "description": "Adds two numbers: a and b.",
    "is_idempotent": True,
}


def _http(address: str) -> tuple[str, dict[str, JSON]]:
    target: JSON = {"method": "POST", "url": f"http://{address}/add"}
    return "/v1/tools", {**_TOOL, "name": "add-http", "input_schema": _SCHEMA, "http": target}


def _grpc(address: str) -> tuple[str, dict[str, JSON]]:
    target: JSON = {"address": address, "method": METHOD}
    return "/v1/tools", {**_TOOL, "name": "add-grpc", "grpc": target}


def _mcp(address: str) -> tuple[str, dict[str, JSON]]:
    return "/v1/mcp-servers", {"namespace": "bench-http", "url": f"http://{address}/mcp"}


def _stdio(address: str) -> tuple[str, dict[str, JSON]]:
    environment: JSON = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command: JSON = {
        "program": STDIO[0],
        "arguments": list(STDIO[1:]),
        "environment": environment,
    }
    return "/v1/mcp-servers", {"namespace": "bench-stdio", "command": command}


REGISTRATIONS: Final[Mapping[str, Callable[[str], tuple[str, dict[str, JSON]]]]] = {
    "http": _http,
    "grpc": _grpc,
    "mcp": _mcp,
    "stdio": _stdio,
}
TOOLS: Final[Mapping[str, tuple[str, dict[str, JSON], str]]] = {
    "builtin": ("calculator", {"expression": "12*7"}, '"value":84'),
    "http": ("add-http", _NUMBERS, "3.5"),
    "grpc": ("add-grpc", _NUMBERS, "3.5"),
    "mcp": ("bench-http__add", _NUMBERS, "3.5"),
    "stdio": ("bench-stdio__add", _NUMBERS, "3.5"),
}
"""By kind: the tool, its input, and what the answer has."""


def tool_kinds(bench: Bench) -> Iterator[Figure]:
    """Each kind with one caller and with 32: at the registry, through the edge, without us."""
    failed: list[str] = []
    with bench.suite("echo") as suite:
        for kind in TOOLS:
            try:
                yield from _kind(bench, suite, kind)
            except RuntimeError as error:
                failed.append(f"{kind}: {error}")
                bench.say(f"tool-kinds: {kind} could not be measured: {error}")
    if failed:
        raise RuntimeError("; ".join(failed))


def posted(suite: Suite, path: str, body: Mapping[str, JSON]) -> dict[str, JSON]:
    """What the edge answers.

    Raises:
        RuntimeError: it refuses.
    """
    asked = Request(
        f"http://{suite.address}{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urlopen(asked, timeout=60) as response:  # noqa: S310 - as above
            return cast("dict[str, JSON]", json.load(response))
    except HTTPError as error:
        raise RuntimeError(f"{path}: {error.code} {error.read()[:500].decode()}") from None


def _kind(bench: Bench, suite: Suite, kind: str) -> Iterator[Figure]:
    tool, given, expect = TOOLS[kind]
    with ExitStack() as stack:
        server: Server | None = None
        if kind not in {"builtin", "stdio"}:
            server = stack.enter_context(serving(kind))
        where = server.address if server is not None else ""
        if kind in REGISTRATIONS:
            posted(suite, *REGISTRATIONS[kind](where))
        for callers in CALLERS:
            job = Job(
                "tool_kinds",
                suite.address,
                where,
                expect=expect,
                callers=callers,
                count=bench.scaled(COUNTS[callers]),
                target=suite.grpc["tool_registry"],
                options={"kind": kind, "tool": tool, "input": given},
            )
            runs = bench.runs(f"tool-kinds: {kind}, {callers}", With(suite, server), job)
            yield from _figures(kind, callers, runs)


def _figures(kind: str, callers: int, runs: list[Run]) -> Iterator[Figure]:
    """The bar is on what we add to a call, so for what runs elsewhere to the direct one."""
    row = f"tool-kinds {kind} x{callers}"
    base = "function" if kind == "builtin" else "direct"
    for way in ("registry", "edge"):
        for above in ("function", "direct")[: 1 if kind == "builtin" else 2]:
            for share in ("p50", "p99"):
                has_bar = callers == 1 and share == "p50" and above == base
                yield Figure(
                    row,
                    f"{way} above the {above}, {share}",
                    "ms",
                    [run.number(f"{way}_above_{above}_{share}") for run in runs],
                    Bar(2) if has_bar else None,
                )
    for share in ("p50", "p99"):
        values = [run.number("direct", share) for run in runs]
        yield Figure(row, f"without us, {share}", "ms", values)
    yield Figure(
        row,
        "CPU of a call, mean of the ways",
        "ms",
        [sum(run.cpu.values()) * 1e3 / max(run.number("count"), 1) for run in runs],
        cpu=cpu_each(runs, 1, 1e3),
        errors=errors(runs),
        runs=[run.document() for run in runs],
    )
