"""One tool, called three ways: through the edge, at the registry, and where it runs without us."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any, Final, TypeAlias, cast

import grpc
import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from benchmarks.load.figures import quantile, summary_ms
from benchmarks.load.http import connect, request
from benchmarks.load.job import JSON, Job, Report
from benchmarks.servers.adding import METHOD, AddRequest, AddResponse, add
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.ports import Invocation

_TIMEOUT: Final = 10
_WARM_UP: Final = 20
_ROUNDS: Final = 10
_FUNCTION_CALLS: Final = 1000

Ask: TypeAlias = Callable[[], Awaitable[bool]]
"""Calls once; whether the answer was right."""


async def run(job: Job) -> Report:
    """`job.count` calls each way, by `job.callers` at a time.

    `job.options`: `kind`, `tool` and `input`; `job.path` is the address of the tool's server, and
    `job.expect` what the edge's answer contains.
    """
    kind = str(job.options["kind"])
    given = cast("dict[str, JSON]", job.options["input"])
    errors: Counter[str] = Counter()
    began = perf_counter()
    opened = {
        "edge": _edge(job, given),
        "registry": _registry(job, given),
        "direct": DIRECT[kind](job, given),
    }
    async with AsyncExitStack() as stack:
        ways = {way: await stack.enter_async_context(each) for way, each in opened.items()}
        for way, asks in ways.items():
            await _closed(asks, _WARM_UP * job.callers, way, errors)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(_ROUNDS):  # What else the machine does is to meet all of them.
            for way, asks in ways.items():
                seconds[way] += await _closed(asks, job.count // _ROUNDS, way, errors)
    function = await _function(kind, given)
    above = {
        f"{way}_above_{base}_{name}": (quantile(seconds[way], share) - middle) * 1e3
        for way in ("edge", "registry")
        for base, middle in (("function", function), ("direct", quantile(seconds["direct"], 0.5)))
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {
        "count": sum(map(len, seconds.values())),
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        "function_ms": function * 1e3,
        **{way: summary_ms(each) for way, each in seconds.items()},
        **above,
    }


async def _closed(asks: list[Ask], count: int, way: str, errors: Counter[str]) -> list[float]:
    """Seconds of each call; each caller asks again as soon as it is answered."""
    took: list[float] = []

    async def caller(ask: Ask) -> None:
        for _ in range(-(-count // len(asks))):
            began = perf_counter()
            if await ask():
                took.append(perf_counter() - began)
            else:
                errors[way] += 1

    async with asyncio.TaskGroup() as group:
        for ask in asks:
            group.create_task(caller(ask))
    return took


async def _function(kind: str, given: Mapping[str, JSON]) -> float:
    """The median of calling the function itself."""
    calculator, invocation = Calculator(), Invocation(given)
    took: list[float] = []
    for _ in range(_FUNCTION_CALLS):
        began = perf_counter()
        if kind == "builtin":
            await calculator.call(invocation)
        else:
            add(**cast("dict[str, float]", given))
        took.append(perf_counter() - began)
    return quantile(took, 0.5)


@asynccontextmanager
async def _edge(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    raw = request(job.address, f"/v1/tools/{job.options['tool']}:call", {"input": given})
    expect = job.expect.encode()
    connections = [await connect(job.address) for _ in range(job.callers)]

    def asking(index: int) -> Ask:
        async def ask() -> bool:
            answer = await connections[index].ask(raw)
            return answer.status == 200 and answer.contains(expect)

        return ask

    yield [asking(index) for index in range(job.callers)]
    for each in connections:
        each.close()


@asynccontextmanager
async def _registry(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    asked = pb.CallToolRequest(name=str(job.options["tool"]))
    asked.input.update(given)
    async with grpc.aio.insecure_channel(job.target) as channel:
        registry = pb_grpc.ToolRegistryServiceStub(channel)

        async def ask() -> bool:
            return bool((await registry.CallTool(asked, timeout=_TIMEOUT)).status == "success")

        yield [ask] * job.callers


@asynccontextmanager
async def _builtin(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    calculator, invocation = Calculator(), Invocation(given)

    async def ask() -> bool:
        return (await calculator.call(invocation)).value is not None

    yield [ask] * job.callers


@asynccontextmanager
async def _http(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    url, content = f"http://{job.path}/add", json.dumps(given).encode()
    async with httpx2.AsyncClient(timeout=_TIMEOUT) as client:

        async def ask() -> bool:
            answer = await client.post(url, content=content)
            return "sum" in answer.json()

        yield [ask] * job.callers


@asynccontextmanager
async def _grpc(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    async with grpc.aio.insecure_channel(job.path) as channel:
        method = channel.unary_unary(
            f"/{METHOD}",
            request_serializer=AddRequest.SerializeToString,
            response_deserializer=AddResponse.FromString,
        )
        asked: Any = AddRequest(**given)

        async def ask() -> bool:
            answer: Any = await method(asked, timeout=_TIMEOUT)
            return bool(answer.sum)

        yield [ask] * job.callers


@asynccontextmanager
async def _mcp(where: Any, job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    async with Client(where) as client:

        async def ask() -> bool:
            return not (await client.call_tool("add", given)).is_error

        yield [ask] * job.callers


@asynccontextmanager
async def _stdio(job: Job, given: dict[str, JSON]) -> AsyncIterator[list[Ask]]:
    command = ["-m", "benchmarks.servers", "stdio"]
    started = stdio_client(StdioServerParameters(command=sys.executable, args=command))
    async with _mcp(started, job, given) as asks:
        yield asks


DIRECT: Final = {
    "builtin": _builtin,
    "http": _http,
    "grpc": _grpc,
    "mcp": lambda job, given: _mcp(f"http://{job.path}/mcp", job, given),
    "stdio": _stdio,
}
"""Ways to the tool without us, by kind."""
