"""One tool, called three ways in turns: through the edge, at the registry, as a function."""

from collections import Counter
from time import perf_counter
from typing import Final

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from benchmarks.load.figures import quantile, summary_ms
from benchmarks.load.http import connect, request
from benchmarks.load.job import JSON, Job, Report
from services.tool_registry.adapters.builtin.calculator import DEFINITION, Calculator
from services.tool_registry.ports import Invocation

_INPUT: Final[dict[str, JSON]] = {"expression": "12*7"}
_TIMEOUT: Final = 5
_WARM_UP: Final = 20


async def run(job: Job) -> Report:
    """`job.count` times each."""
    edge = await connect(job.address)
    raw = request(job.address, "/v1/tools/calculator:call", {"input": _INPUT})
    asked = pb.CallToolRequest(name="calculator")
    asked.input.update(_INPUT)
    seconds: dict[str, list[float]] = {"edge": [], "service": [], "function": []}
    errors: Counter[str] = Counter()
    calculator, invocation = Calculator(), Invocation(_INPUT)
    began = perf_counter()
    async with grpc.aio.insecure_channel(job.target) as channel:
        registry = pb_grpc.ToolRegistryServiceStub(channel)
        for turn in range(-_WARM_UP, job.count):
            answer = await edge.ask(raw)
            if answer.status != 200 or not answer.contains(b'"value":84'):
                errors[f"edge {answer.status}"] += 1
            at_service = perf_counter()
            response = await registry.CallTool(asked, timeout=_TIMEOUT)
            if response.status != "success":
                errors[f"service {response.status}"] += 1
            at_function = perf_counter()
            await calculator.call(invocation)
            end = perf_counter()
            if turn >= 0:
                seconds["edge"].append(answer.ended - answer.began)
                seconds["service"].append(at_function - at_service)
                seconds["function"].append(end - at_function)
    above = {
        f"above_function_{name}_p50": (
            quantile(seconds[name], 0.5) - quantile(seconds["function"], 0.5)
        )
        * 1e3
        for name in ("edge", "service")
    }
    return {
        "count": job.count,
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        **{name: summary_ms(each) for name, each in seconds.items()},
        **above,
    }


async def validate(job: Job) -> Report:
    """Check one call's input and output `job.count` times, with nothing else around it."""
    output = {"value": 84}
    began = perf_counter()
    for _ in range(job.count):
        DEFINITION.input_schema.violations(_INPUT)
        DEFINITION.output_schema.violations(output)
    took = perf_counter() - began
    return {"count": job.count, "seconds": took, "errors": {}, "each_ms": took / job.count * 1e3}
