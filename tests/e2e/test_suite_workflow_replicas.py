"""Two workflow services on PostgreSQL and Kafka, as a user starts them."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx2

from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Message
from tests.e2e.running import outcome, suite, until
from tests.e2e.streams import watched
from tests.servers.kafka import kafka
from tests.servers.postgres import postgres

DOCUMENTS = """
name: document_processing
state_machine:
  draft:   {transitions: [review, publish]}
  review:  {transitions: [approved, rejected], validator: approver}
  publish: {transitions: [indexed]}
event_source: kafka://events/document-events
"""
TIMED = """
name: timed
state_machine:
  a: {transitions: [b], timeout: {after: 3s, target: late}}
  late: {terminal: success}
"""


async def heard(url: str, count: int, ready: asyncio.Event) -> list[Message]:
    """What arrives on the topic from now on."""
    found: list[Message] = []
    async with event_bus(url) as bus, bus.consume("document-events", group="test") as consumer:
        ready.set()
        async with asyncio.timeout(30):
            while len(found) < count:
                found += await consumer.next()
                await consumer.commit()
    return found


def run_through(http: httpx2.Client) -> str:
    """A document from its beginning to its end."""
    http.post("/v1/definitions", json={"yaml": DOCUMENTS})
    began = http.post("/v1/workflows", json={"definition": "document_processing"}).json()
    name = str(began["workflow_id"])
    http.post(f"/v1/workflows/{name}:signal", json={"target": "publish"})
    http.post(f"/v1/workflows/{name}:signal", json={"target": "indexed"})
    return name


async def test_events_of_a_suite_arrive_in_kafka(tmp_path: Path) -> None:
    with postgres() as store, kafka() as broker:
        shared = ("--event-store", store.url, "--event-bus", broker.url)
        line = ("--engine", "echo", *shared, "--replicas", "workflow=2")
        with suite(tmp_path, *line) as running, httpx2.Client(base_url=running.url) as http:
            ready = asyncio.Event()
            hearing = asyncio.create_task(heard(broker.url, 4, ready))
            await ready.wait()
            name = await asyncio.to_thread(run_through, http)
            messages = await hearing

    said: list[dict[str, Any]] = [json.loads(message.value) for message in messages]
    assert [message.key for message in messages] == [name] * 4
    assert [each["sequence"] for each in said] == [1, 2, 3, 4]
    assert said[1]["event_type"] == "document_processing_publish"
    assert said[3]["status"] == "completed"


def test_a_replica_that_is_killed_leaves_its_timers_to_the_other(tmp_path: Path) -> None:
    with postgres() as store:
        line = ("--engine", "echo", "--event-store", store.url, "--replicas", "workflow=2")
        with (
            suite(tmp_path, *line) as running,
            httpx2.Client(base_url=running.url, timeout=20) as http,
        ):
            http.post("/v1/definitions", json={"yaml": TIMED})
            began = http.post("/v1/workflows", json={"definition": "timed"}).json()
            os.kill(running.run["pids"]["workflow-2"], signal.SIGKILL)
            path = f"/v1/workflows/{began['workflow_id']}"
            until(lambda: http.get(path).json().get("status") == "completed")
            events = watched(http, f"{path}:watch")

    assert [each.said.get("cause") for each in events] == [None, "timeout", None]


def test_a_bus_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    line = ("up", "--engine", "echo", "--state", str(tmp_path), "--event-bus", "redis://x")

    code, out, err = outcome(*line)

    assert (code, out) == (2, "")
    assert "is neither memory: nor kafka://HOST:PORT" in err
