"""A workflow whose events were changed on the disk, in the real service."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from runplane.workflow.v1 import definitions_pb2 as dpb
from runplane.workflow.v1 import definitions_pb2_grpc as dpb_grpc
from runplane.workflow.v1 import workflow_pb2 as pb
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from services.chassis.settings import ServerSettings, SharedSettings
from services.chassis.status import status_of
from services.workflow.app import running
from services.workflow.settings import Settings, VerifySettings, WorkerSettings
from tests.contract.workflow.tampering import OfSqlite

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
QUICK = WorkerSettings(lease=timedelta(seconds=0.4), look=timedelta(seconds=0.02))
GET, LIST = pb.GetWorkflowRequest, pb.ListWorkflowEventsRequest
SIGNAL, WATCH = pb.SignalWorkflowRequest, pb.WatchWorkflowRequest
FAR = datetime(2100, 1, 1, tzinfo=UTC)
TEXT = """
name: order
initial: new
state_machine:
  new: {transitions: [paid, canceled], timeout: {after: 500ms, target: late}}
  late: {transitions: [paid]}
"""


@dataclass(frozen=True)
class Client:
    """What callers have."""

    definitions: "dpb_grpc.DefinitionServiceAsyncStub"
    workflows: "pb_grpc.WorkflowServiceAsyncStub"

    async def start(self) -> str:
        """A workflow that waits."""
        asked = pb.StartWorkflowRequest(definition="order")
        return (await self.workflows.StartWorkflow(asked, timeout=5)).workflow_id

    async def verify(self, workflow_id: str) -> pb.Verification:
        """What a verification says."""
        asked = pb.VerifyWorkflowRequest(workflow_id=workflow_id)
        return await self.workflows.VerifyWorkflow(asked, timeout=5)


@asynccontextmanager
async def serving(folder: Path, **verify: object) -> AsyncIterator[Client]:
    settings = Settings(
        server=LOOPBACK,
        worker=QUICK,
        verify=VerifySettings.model_validate({"interval": 0} | verify),
    )
    shared = SharedSettings(page_token_key="00" * 32, event_store=f"sqlite:///{folder}")
    async with (
        running(settings, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        client = Client(
            dpb_grpc.DefinitionServiceStub(channel), pb_grpc.WorkflowServiceStub(channel)
        )
        await client.definitions.CreateDefinition(dpb.CreateDefinitionRequest(yaml=TEXT), timeout=5)
        yield client


def info_of(error: grpc.aio.AioRpcError) -> ErrorInfo:
    info = ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    return info


async def test_a_workflow_that_cannot_be_read_is_shown_verified_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as client:
        broken, whole = await client.start(), await client.start()
    tampering = OfSqlite(str(tmp_path / "workflow.db"))
    await tampering.event(("default", broken), 1, body=b"\xff\xff")

    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(20), serving(tmp_path) as client:
            watching = client.workflows.WatchWorkflow(WATCH(workflow_id=whole))
            types = [(await watching.read()).type for _ in range(2)]  # Its timeout, in time.
            while await tampering.due(("default", broken)) < FAR:  # It was given up.
                shown = await client.workflows.GetWorkflow(GET(workflow_id=broken))
            with pytest.raises(grpc.aio.AioRpcError) as signalled:
                await client.workflows.SignalWorkflow(SIGNAL(workflow_id=broken, target="paid"))
            with pytest.raises(grpc.aio.AioRpcError) as listed:
                await client.workflows.ListWorkflowEvents(LIST(workflow_id=broken))
            shown = await client.workflows.GetWorkflow(GET(workflow_id=broken))
            found = await client.verify(broken)

    assert types == ["workflow_started", "transition"]
    assert (shown.current_state, shown.status) == ("new", "waiting")
    for caught in (signalled, listed):
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert info_of(caught.value).reason == "WORKFLOW_CORRUPT"
    assert (found.consistent, found.events, found.last_sequence) == (False, 1, 1)
    assert [(each.kind, each.sequence, each.is_repaired) for each in found.problems] == [
        ("EVENT_UNREADABLE", 1, False),
        ("EVENT_CHANGED", 1, False),
    ]
    given_up = [each for each in caplog.records if each.message == "workflow given up"]
    assert [each.__dict__["workflow_id"] for each in given_up] == [broken]


async def test_a_workflow_whose_events_are_restored_goes_on_once_it_is_verified(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as client:
        workflow_id = await client.start()
    tampering = OfSqlite(str(tmp_path / "workflow.db"))
    good = await tampering.body(("default", workflow_id), 1)
    await tampering.event(("default", workflow_id), 1, body=b"\xff\xff")

    async with asyncio.timeout(20), serving(tmp_path) as client:
        while (await client.verify(workflow_id)).consistent:
            pass
        await tampering.event(("default", workflow_id), 1, body=good)
        assert (await client.verify(workflow_id)).consistent
        watching = client.workflows.WatchWorkflow(WATCH(workflow_id=workflow_id))
        events = [await watching.read() for _ in range(2)]

    assert events[1].next_state == "late"


async def test_a_projection_that_cannot_be_read_hides_no_other_workflow(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        whole, broken = await client.start(), await client.start()
        tampering = OfSqlite(str(tmp_path / "workflow.db"))
        await tampering.record(("default", broken), "workflow", b"\xff")

        listed = await client.workflows.ListWorkflows(pb.ListWorkflowsRequest(), timeout=5)
        shown = await client.workflows.GetWorkflow(GET(workflow_id=broken), timeout=5)

    assert [each.workflow_id for each in listed.workflows] == ["", whole]
    assert shown.workflow_id == broken
    for each in (shown, listed.workflows[0]):
        assert [warning.code for warning in each.warnings] == ["WORKFLOW_UNREADABLE"]


async def test_the_verifier_of_the_service_mends_a_projection(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        workflow_id = await client.start()
    tampering = OfSqlite(str(tmp_path / "workflow.db"))
    await tampering.record(("default", workflow_id), "workflow", b"\xff")

    async with asyncio.timeout(20), serving(tmp_path, interval=0.05) as client:
        watching = client.workflows.WatchWorkflow(WATCH(workflow_id=workflow_id))
        types = []
        while "projection_repaired" not in types:
            types.append((await watching.read()).type)
        found = await client.verify(workflow_id)

    assert found.consistent


async def test_a_watcher_of_one_that_was_repaired_after_its_end_comes_to_an_end(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as client:
        workflow_id = await client.start()
        signal = SIGNAL(workflow_id=workflow_id, target="canceled")
        await client.workflows.SignalWorkflow(signal)
        tampering = OfSqlite(str(tmp_path / "workflow.db"))
        await tampering.record(("default", workflow_id), "workflow", b"\xff")
        assert not (await client.verify(workflow_id)).consistent

        async with asyncio.timeout(5):
            watching = client.workflows.WatchWorkflow(WATCH(workflow_id=workflow_id))
            types = [event.type async for event in watching]

    assert types[-2:] == ["workflow_ended", "projection_repaired"]


async def test_a_workflow_that_a_newer_version_went_on_with_is_left_to_that_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as client:
        workflow_id = await client.start()
    tampering, name = OfSqlite(str(tmp_path / "workflow.db")), ("default", workflow_id)
    await tampering.event(name, 1, type="workflow.began.v1")

    def tries() -> int:
        return sum(each.message == "workflow given up" for each in caplog.records)

    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(20), serving(tmp_path, interval=0.05) as client:
            while tries() < 2:  # noqa: ASYNC110 - it comes back: some replica can go on
                await asyncio.sleep(0.02)
            with pytest.raises(grpc.aio.AioRpcError) as signalled:
                await client.workflows.SignalWorkflow(
                    SIGNAL(workflow_id=workflow_id, target="paid")
                )
            shown = await client.workflows.GetWorkflow(GET(workflow_id=workflow_id))
            await tampering.event(name, 1, type="workflow.started.v1")
            watching = client.workflows.WatchWorkflow(WATCH(workflow_id=workflow_id))
            types = [(await watching.read()).type for _ in range(2)]

    assert signalled.value.code() is grpc.StatusCode.UNAVAILABLE
    assert info_of(signalled.value).reason == "WRITTEN_BY_NEWER_VERSION"
    assert (shown.current_state, types) == ("new", ["workflow_started", "transition"])
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
