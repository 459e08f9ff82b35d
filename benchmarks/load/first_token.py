"""Time to first token: through the edge, at the inference service, and at the engine itself.

The three take turns, and each follows each of the others as often: drift, and what the one before
left in the caches, are the same for all.
"""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from time import perf_counter
from typing import Final

import grpc
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.type.v1 import content_pb2, usage_pb2

from benchmarks.load.figures import quantile, summary_ms
from benchmarks.load.http import Connection, connect, request
from benchmarks.load.job import JSON, Job, Report
from benchmarks.load.streams import DELTA
from services.inference.domain.request import Message, Request, Sampling
from services.inference.own import engines_of
from services.inference.ports import Engine
from services.inference.settings import Settings

# The model greets; where it ends its first sentence is enough.
_STOP: Final = "!"
_PACE: Final = timedelta(milliseconds=10)
_TIMEOUT: Final = 30
_WARM_UP: Final = 5
# As the orchestrator says it when no tools are offered.
_SYSTEM: Final = "You are a helpful agent. Answer the user briefly and truthfully."


async def run(job: Job) -> Report:
    """`job.count` times each."""
    query = str(job.options["query"])
    turns = (("system", _SYSTEM), ("user", query))
    settings = Settings.model_validate({"engine": job.engine})
    (engine,) = engines_of(settings)
    await engine.load()
    edge = await connect(job.address)
    body: dict[str, JSON] = {
        "query": query,
        "tool_choice": "none",
        "sampling": {"temperature": 0, "stop": [_STOP]},
    }
    raw = request(job.address, "/v1/agent/stream", body)
    sampling = Sampling(temperature=0, stop=(_STOP,))
    direct = Request("", tuple(Message(role, said) for role, said in turns), sampling)
    asked = pb.GenerateRequest(
        messages=[content_pb2.Message(role=role, content=said) for role, said in turns],
        sampling=usage_pb2.Sampling(temperature=0, stop=[_STOP]),
    )
    async with grpc.aio.insecure_channel(job.target) as channel:
        stub = pb_grpc.InferenceServiceStub(channel)
        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "edge": lambda: _edge(edge, raw),
            "service": lambda: _service(stub, asked),
            "engine": lambda: _engine(engine, direct),
        }
        report = await _in_turns(ways, job.count)
    edge.close()
    await engine.close()
    return report


async def _in_turns(ways: dict[str, Callable[[], Awaitable[float]]], count: int) -> Report:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    errors: Counter[str] = Counter()
    began = perf_counter()
    orders = itertools.cycle(itertools.permutations(ways))
    for turn, order in zip(range(-_WARM_UP, count), orders, strict=False):
        for name in order:
            try:
                took = await ways[name]()
            except (EOFError, grpc.aio.AioRpcError) as error:
                errors[f"{name}: {str(error)[:120]}"] += 1
                continue
            if turn >= 0:
                seconds[name].append(took)
    above = {
        f"above_{base}_{label}": (quantile(seconds["edge"], share) - quantile(seconds[base], share))
        * 1e3
        for base in ("engine", "service")
        for label, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {
        "count": count,
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        **{name: summary_ms(each) for name, each in seconds.items()},
        **above,
    }


async def _edge(connection: Connection, raw: bytes) -> float:
    answer = connection.begin(raw, (DELTA,))
    await answer.seen(1)
    await answer.complete()
    if not answer.contains(b'"status":"completed"'):
        raise EOFError(answer.content[-300:].decode(errors="replace"))
    return answer.at[0] - answer.began


async def _service(stub: "pb_grpc.InferenceServiceAsyncStub", asked: pb.GenerateRequest) -> float:
    began, first = perf_counter(), 0.0
    async for _ in stub.StreamGenerate(asked, timeout=_TIMEOUT):
        first = first or perf_counter()
    return first - began


async def _engine(engine: Engine, asked: Request) -> float:
    began, first = perf_counter(), 0.0
    async with aclosing(engine.generate(asked, pace=_PACE)) as pieces:
        async for _ in pieces:
            first = first or perf_counter()
    return first - began
