"""Signals, decisions, cancels, and what is refused of them."""

import asyncio
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from tests.integration.workflow.world import DOCUMENTS, World, kinds, plain, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = """
name: ways
state_machine:
  open:    {transitions: [decided, waiting], on: {decide: decided, rest: waiting}}
  decided: {transitions: [one, two], validator: approver}
  waiting: {transitions: [guarded]}
  guarded: {transitions: [done], validator: {cel: "payload.ok == true"}}
events: {waiting: pause_begun}
"""
FAILING = """
name: judged
state_machine:
  review: {transitions: [accepted, refused], validator: approver}
  refused: {terminal: failure}
"""


async def reviewed(world: World) -> str:
    """A document under review."""
    started = await world.run(DOCUMENTS, {"doc_id": "doc_1"})
    return (await world.signal(started, target="review")).workflow_id


async def test_a_target_moves_it_and_the_payload_is_merged(world: World) -> None:
    started = await world.run(DOCUMENTS, {"doc_id": "doc_1", "old": 1})

    moved = await world.signal(started, target="publish", payload={"old": None, "new": [1]})

    assert (moved.current_state, moved.status, moved.last_sequence) == ("publish", "waiting", 2)
    assert plain(moved.data) == {"doc_id": "doc_1", "new": [1]}
    assert (await world.signal(moved, target="indexed")).status == "completed"


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("decide", "decided"),
        ("rest", "waiting"),
        ("pause_begun", "waiting"),
        ("waiting", "waiting"),
    ],
    ids=["by on", "by on too", "by its type", "by its state"],
)
async def test_an_event_leads_where_the_definition_says(
    world: World, event: str, state: str
) -> None:
    started = await world.run(WAYS)

    assert (await world.signal(started, event=event)).current_state == state


async def test_an_approval_leads_on_and_says_who_decided(world: World) -> None:
    workflow = await reviewed(world)
    pending = await world.get(workflow)

    done = await world.approve(workflow, comment="fine", payload={"by": "ada"})

    assert (pending.status, pending.waits_for) == ("waiting", "approval")
    assert (done.current_state, done.status) == ("approved", "completed")
    (moved,) = (event for event in await world.log(workflow) if event.cause == "approval")
    assert (moved.status, moved.comment, moved.orchestrator) == ("approved", "fine", "local")
    assert (moved.previous_state, moved.next_state) == ("review", "approved")
    assert moved.event_type == "document_processing_approved"
    assert plain(moved.payload) == {"by": "ada"}


async def test_a_rejection_leads_to_rejected(world: World) -> None:
    workflow = await reviewed(world)

    done = await world.reject(workflow, comment="no")

    assert (done.current_state, done.status) == ("rejected", "completed")
    assert "rejected" in {event.status for event in await world.log(workflow)}


async def test_a_rejection_leads_to_the_only_failure(world: World) -> None:
    workflow = await world.run(FAILING)

    done = await world.reject(workflow)

    assert (done.current_state, done.status) == ("refused", "failed")
    assert done.error.reason == "FAILURE_STATE_REACHED"


async def test_decisions_with_several_ways_need_a_target(world: World) -> None:
    started = await world.run(WAYS)
    await world.signal(started, target="decided")

    approved = await refused(world.approve(started))
    rejected = await refused(world.reject(started))
    nowhere = await refused(world.approve(started, target="open"))

    for refusal in (approved, rejected):
        assert refusal.what == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert refusal.metadata["field"] == "target"
        assert "one, two" in refusal.metadata["suggested_fix"]
    assert nowhere.what == ("FAILED_PRECONDITION", "TRANSITION_NOT_ALLOWED")
    assert (await world.approve(started, target="two")).current_state == "two"


async def test_who_signals_where_a_person_decides_is_refused(world: World) -> None:
    refusal = await refused(world.signal(await reviewed(world), target="approved"))

    assert refusal.what == ("FAILED_PRECONDITION", "APPROVAL_REQUIRED")
    assert ":approve" in refusal.metadata["suggested_fix"]


async def test_a_transition_that_is_not_there_is_refused_with_those_that_are(world: World) -> None:
    started = await world.run(DOCUMENTS)

    for fields in ({"target": "approved"}, {"event": "document_processing_approved"}):
        refusal = await refused(world.signal(started, **fields))
        assert refusal.what == ("FAILED_PRECONDITION", "TRANSITION_NOT_ALLOWED")
        assert refusal.metadata["transitions"] == "review, publish"
    assert (await world.get(started)).last_sequence == 1


async def test_decisions_that_nobody_waits_for_are_refused(world: World) -> None:
    started = await world.run(DOCUMENTS)

    for call in (world.approve(started), world.reject(started)):
        assert (await refused(call)).what == ("FAILED_PRECONDITION", "APPROVAL_NOT_PENDING")


async def test_an_expected_state_that_it_is_not_in_is_refused(world: World) -> None:
    workflow = await reviewed(world)

    for call in (
        world.signal(workflow, target="approved", expected_state="draft"),
        world.approve(workflow, expected_state="draft"),
        world.reject(workflow, expected_state="draft"),
    ):
        refusal = await refused(call)
        assert refusal.what == ("FAILED_PRECONDITION", "WORKFLOW_STATE_CHANGED")
        assert refusal.metadata["state"] == "review"
    assert (await world.approve(workflow, expected_state="review")).status == "completed"


async def test_an_expression_answers_at_once(world: World) -> None:
    started = await world.run(WAYS)
    await world.signal(started, event="rest")
    await world.signal(started, target="guarded")

    no = await refused(world.signal(started, target="done", payload={"ok": False}))
    nothing = await refused(world.signal(started, target="done"))
    yes = await world.signal(started, target="done", payload={"ok": True})

    assert no.what == ("FAILED_PRECONDITION", "TRANSITION_REJECTED")
    assert nothing.what == ("FAILED_PRECONDITION", "EXPRESSION_FAILED")
    assert yes.status == "completed"


@pytest.mark.parametrize(
    ("verb", "fields", "field"),
    [
        ("signal", {}, "target"),
        ("signal", {"target": "review", "event": "review"}, "target"),
        ("signal", {"event": "x" * 257}, "event"),
        ("signal", {"target": "review", "payload": {"n": 2.0**60}}, "payload.n"),
        ("signal", {"target": "review", "idempotency_key": "x" * 257}, "idempotency_key"),
        ("approve", {"comment": "x" * 5000}, "comment"),
        ("reject", {"comment": "x" * 5000}, "comment"),
        ("cancel", {"reason": "x" * 5000}, "reason"),
        ("compensate", {"reason": "x" * 5000}, "reason"),
    ],
)
async def test_a_bad_request_names_its_field(
    world: World, verb: str, fields: dict[str, Any], field: str
) -> None:
    started = await world.run(DOCUMENTS)

    refusal = await refused(getattr(world, verb)(started, **fields))

    assert refusal.what == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.metadata["field"] == field
    assert refusal.metadata["suggested_fix"]


async def test_a_payload_that_would_spoil_the_data_is_refused(world: World) -> None:
    started = await world.run(
        "name: typed\nschema: {properties: {n: {type: integer}}}\n"
        "state_machine: {a: {transitions: [b]}}"
    )

    wrong = await refused(world.signal(started, target="b", payload={"n": "x"}))
    large = await refused(world.signal(started, target="b", payload={"x": "x" * 300_000}))

    assert wrong.what == large.what == ("INVALID_ARGUMENT", "WORKFLOW_DATA_INVALID")
    assert wrong.metadata["schema_path"] == "/properties/n/type"


async def test_the_same_signal_counts_once(world: World) -> None:
    started = await world.run("name: loop\nstate_machine: {a: {transitions: [a, b]}}")

    one = await world.signal(started, target="a", idempotency_key="s1")
    two = await world.signal(started, target="a", idempotency_key="s1")
    other = await refused(world.signal(started, target="b", idempotency_key="s1"))
    third = await world.signal(started, target="a", idempotency_key="s2")

    assert (one.last_sequence, two.last_sequence, third.last_sequence) == (2, 2, 3)
    assert other.what == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


async def test_the_same_decision_counts_once_even_after_the_end(world: World) -> None:
    workflow = await reviewed(world)

    one = await world.approve(workflow, idempotency_key="d1")
    two = await world.approve(workflow, idempotency_key="d1")

    assert one == two


async def test_a_rejection_is_not_the_approval_of_the_same_key(world: World) -> None:
    workflow = await reviewed(world)
    same = {"target": "approved", "idempotency_key": "d1"}
    await world.approve(workflow, **same)

    refusal = await refused(world.reject(workflow, **same, payload=Struct()))

    assert refusal.what == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


async def test_signals_that_come_at_once_all_count(world: World) -> None:
    started = await world.run("name: loop\nstate_machine: {a: {transitions: [a, b]}}")

    await asyncio.gather(
        *(world.signal(started, target="a", payload={f"n{n}": n}) for n in range(500))
    )

    there = await world.get(started)
    assert there.last_sequence == 501
    assert len(plain(there.data)) == 500


async def test_of_two_decisions_at_once_one_is_made(world: World) -> None:
    workflow = await reviewed(world)

    ends = await asyncio.gather(
        world.approve(workflow), world.reject(workflow), return_exceptions=True
    )

    assert sum(isinstance(each, Exception) for each in ends) == 1
    assert kinds(await world.log(workflow)).count("transition") == 2


async def test_a_cancel_ends_it_and_again_changes_nothing(world: World) -> None:
    started = await world.run(DOCUMENTS)

    one = await world.cancel(started, "enough")
    two = await world.cancel(started, "again")

    assert one == two
    assert (one.status, one.current_state) == ("canceled", "draft")
    log = await world.log(started)
    assert kinds(log) == ["workflow_started", "cancel_requested", "workflow_ended"]
    assert (log[1].comment, log[1].orchestrator) == ("enough", "local")


async def test_what_has_ended_takes_nothing_more(world: World) -> None:
    workflow = await reviewed(world)
    await world.approve(workflow)

    for call in (
        world.signal(workflow, target="review"),
        world.approve(workflow),
        world.reject(workflow),
        world.cancel(workflow),
    ):
        assert (await refused(call)).what == ("FAILED_PRECONDITION", "WORKFLOW_ALREADY_ENDED")


async def test_what_is_at_work_is_not_compensated_but_canceled(world: World) -> None:
    refusal = await refused(world.compensate(await reviewed(world)))

    assert refusal.what == ("FAILED_PRECONDITION", "WORKFLOW_NOT_COMPENSABLE")
    assert refusal.metadata["suggested_fix"] == "cancel it"


async def test_where_nothing_is_to_be_undone_it_is_compensated_at_once(world: World) -> None:
    workflow = await reviewed(world)
    await world.approve(workflow)

    undone = await world.compensate(workflow, "sorry")

    assert undone.status == "compensated"
    again = await refused(world.compensate(workflow))
    assert again.what == ("FAILED_PRECONDITION", "WORKFLOW_NOT_COMPENSABLE")
