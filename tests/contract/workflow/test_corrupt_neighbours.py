"""That a workflow whose events cannot be read is nobody else's trouble."""

import pytest
from runplane.workflow.v1 import workflow_pb2

from services.chassis.errors import Internal
from services.chassis.eventlog.backlog import Backlog
from services.workflow.adapters.happenings import EventStoreHappenings
from services.workflow.usecases.children import ChildWorkflows
from services.workflow.usecases.happenings import Happening, Happenings
from services.workflow.usecases.workflows import Workflows
from tests.contract.workflow.conftest import Idle, Place


def workflows(place: Place) -> Workflows:
    other = place.elsewhere()
    return Workflows(
        other.logs, other.definitions, Idle(), now=place.clock, new_id=lambda: "wf_new"
    )


def happenings(place: Place) -> Happenings:
    kept = EventStoreHappenings(place.store, Backlog(1000), "inbound", place.clock, lambda: 0)
    return Happenings(kept, workflows(place), place.elsewhere().logs, lambda: "evt_1")


async def broken(place: Place, workflow_id: str) -> None:
    await place.reviewed(workflow_id)
    await place.tampering.event(("acme", workflow_id), 2, body=b"\xff")


async def test_an_event_reaches_the_other_workflows_that_it_is_for(place: Place) -> None:
    await place.reviewed("wf_1")
    await broken(place, "wf_2")
    await place.reviewed("wf_3")

    await happenings(place).arrived("acme", Happening("evt_1", "done", {}, "o1", ""), "")

    for workflow_id, status in (("wf_1", "completed"), ("wf_2", "waiting"), ("wf_3", "completed")):
        shown = await place.logs.shown("acme", workflow_id)
        assert workflow_pb2.Workflow.FromString(shown).status == status


async def test_an_event_for_a_broken_workflow_alone_says_so(place: Place) -> None:
    await broken(place, "wf_1")

    with pytest.raises(Internal) as caught:
        await happenings(place).arrived("acme", Happening("evt_1", "done", {}, "", "wf_1"), "")

    assert caught.value.reason == "WORKFLOW_CORRUPT"


async def test_a_parent_waits_for_a_child_that_cannot_be_read(place: Place) -> None:
    await broken(place, "wf_1")
    children = ChildWorkflows(lambda: workflows(place))

    assert await children.ended("acme", "wf_1") is None
    await children.cancel("acme", "wf_1", "not wanted")
