"""The trace of a task whose orchestrator is killed."""

import asyncio
from pathlib import Path

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.tracing.spans import life_id
from tests.e2e.replicas import SOON, client, cluster, watched
from tests.e2e.running import until
from tests.servers.otlp import collector

TRACE, CALLER = "5bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
AGENT = "invoke_agent default"


async def test_a_task_that_is_taken_up_is_linked_to_the_life_that_ended(tmp_path: Path) -> None:
    metadata = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
    request = pb.InvokeRequest(query='tool:calculator {"expression": "1+1"}\n\nsleep:1500\nDone.')
    store = f"sqlite:///{tmp_path / 'data'}"
    with (
        collector() as sink,
        cluster(tmp_path, store, RUNPLANE_TELEMETRY_ENDPOINT=sink.url, **SOON) as running,
    ):
        (orchestrator,) = running.orchestrators
        async with client(running) as stub, asyncio.timeout(60):
            task_id = (await stub.CreateTask(request, timeout=10, metadata=metadata)).task_id
            async for event in stub.WatchTask(pb.WatchTaskRequest(task_id=task_id), timeout=20):
                if event.type == "tool_result":
                    break
            await asyncio.to_thread(orchestrator.kill)
            orchestrator.start()
            events = await watched(stub, task_id)
        until(lambda: any(each.name == AGENT for each in sink.of(TRACE)))

        (agent,) = (each for each in sink.of(TRACE) if each.name == AGENT)
    assert events[-1].status == "completed"
    lives = [life_id(task_id, number) for number in range(1, 10)]
    number = lives.index(agent.span_id)
    assert number >= 1
    assert agent.links == [(TRACE, lives[number - 1])]
    assert agent.parent_id == lives[0]
