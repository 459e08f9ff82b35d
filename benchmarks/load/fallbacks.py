"""A model that is killed in the middle of its answer: how long until the next one speaks.

The orchestrator and the tool registry run in this process, over real sockets and with the log on
the disk; the models are the tests' own, which die when they are told to.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from benchmarks.load.figures import summary_ms
from benchmarks.load.job import Job, Report
from services.chassis.settings import ClientSettings, ServerSettings, SharedSettings
from services.orchestrator.app import running
from services.orchestrator.settings import Settings
from services.tool_registry.app import running as registry_running
from services.tool_registry.settings import Settings as RegistrySettings
from tests.e2e.fleet import fleet
from tests.servers.models import Mind, serving_models

LOOPBACK: Final = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
WORDS: Final = tuple(f"word{number} " for number in range(8))
_TIMEOUT: Final = 30
ROUTES: Final = """\
routes:
  - {name: goes_on, rules: [{policy: pinned, models: [first, second]}]}
  - {name: anew, rules: [{policy: pinned, models: [first, third]}]}
"""


async def run(job: Job) -> Report:
    """`job.count` kills for each route: one whose next model goes on from the text, and one whose
    next model begins anew."""
    took: dict[str, list[float]] = {"goes_on": [], "anew": []}
    errors: Counter[str] = Counter()
    began = perf_counter()
    for _ in range(job.count):
        for route, seconds in took.items():
            async with _suite() as (stub, first):
                try:
                    seconds.append(await _swapped(stub, first, route))
                except (ValueError, grpc.aio.AioRpcError) as error:
                    errors[f"{type(error).__name__}: {str(error)[:120]}"] += 1
    return {
        "count": sum(map(len, took.values())),
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        **{route: summary_ms(seconds) for route, seconds in took.items()},
    }


async def kills(job: Job) -> Report:
    """`job.count` times: the process that runs the model is killed, and another one has the next
    model."""
    took: list[float] = []
    began = perf_counter()
    for _ in range(job.count):
        with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder:
            took.append(await asyncio.to_thread(_killed, Path(folder)))
    return {
        "count": len(took),
        "seconds": perf_counter() - began,
        "errors": {},
        "process": summary_ms(took),
    }


def _killed(folder: Path) -> float:
    with fleet(folder) as running, grpc.insecure_channel(running.target) as channel:
        stub = pb_grpc.OrchestratorServiceStub(channel)
        request = pb.InvokeRequest(query="tokens:1000", tool_choice="none")
        killed, session_id, has_changed = 0.0, "", False
        for event in stub.StreamInvoke(request, timeout=_TIMEOUT):
            session_id = session_id or event.session_id
            has_changed = has_changed or event.type == "model_changed"
            if event.type == "message_delta" and not killed:
                killed = perf_counter()
                running.home(session_id).kill()
            elif event.type == "message_delta" and has_changed:
                return perf_counter() - killed
    raise RuntimeError("nobody went on with the task")


async def _swapped(stub: "pb_grpc.OrchestratorServiceAsyncStub", first: Mind, route: str) -> float:
    """From the kill, once text was seen, to the next text that a watcher is shown."""
    request = pb.InvokeRequest(query="Hello", model=route, tool_choice="none")
    killed = spoke = 0.0
    has_changed, answer = False, ""
    async for event in stub.StreamInvoke(request, timeout=_TIMEOUT):
        has_changed = has_changed or event.type == "model_changed"
        if event.type == "message_delta" and not killed:
            await first.waits.wait()
            killed = perf_counter()
            first.kill()
        elif event.type == "message_delta" and has_changed:
            spoke = spoke or perf_counter()
        answer = event.answer or answer
    if answer != "".join(WORDS):
        raise ValueError(f"the answer is {answer!r}")
    return spoke - killed


@asynccontextmanager
async def _suite() -> AsyncIterator[tuple["pb_grpc.OrchestratorServiceAsyncStub", Mind]]:
    first = Mind(WORDS, pauses_after=4)
    minds = {
        "first": first,
        "second": Mind(WORDS),
        "third": Mind(WORDS, facts={"can_continue": False}),
    }
    with tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder:
        shared = SharedSettings(page_token_key="00" * 32, event_store=f"sqlite:///{folder}/data")
        routes = Path(folder) / "routes.yaml"
        await asyncio.to_thread(routes.write_text, ROUTES)
        async with (
            serving_models(minds) as target,
            registry_running(RegistrySettings(server=LOOPBACK), shared) as registry,
            running(
                Settings(
                    server=LOOPBACK,
                    mark_key="11" * 32,
                    inference=ClientSettings(target=target),
                    tool_registry=ClientSettings(target=registry.address),
                    routes=routes,
                ),
                shared,
            ) as orchestrator,
            grpc.aio.insecure_channel(orchestrator.address) as channel,
        ):
            yield pb_grpc.OrchestratorServiceStub(channel), first
