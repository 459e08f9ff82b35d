from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.eventlog.port import StoredEvent
from services.orchestrator.adapters import codec
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import TEXT, Large
from services.orchestrator.domain.place import Place, Window
from services.orchestrator.domain.task import NEXT, Call, Step, Task, evolve, replay
from services.orchestrator.mapping import tasks as mapping
from tests.unit.orchestrator import fakes

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
REQUEST = pb.InvokeRequest(
    query="12*7?",
    tools=["calculator"],
    limits=pb.TaskLimits(steps=4, tokens=1000),
    labels={"team": "a"},
)
SPEC = replace(
    fakes.SPEC,
    query=REQUEST.query,
    tools=("calculator",),
    limits=ev.Limits(4, 1000),
    labels={"team": "a"},
    deadline=NOW + timedelta(seconds=30),
    request=REQUEST.SerializeToString(),
)
AS_AGENT = replace(
    SPEC,
    agent_id="helper",
    agent_version=3,
    parent_task_id="task_0",
    depth=2,
    survives_disconnect=True,
    response_schema={"type": "object"},
    sampling=ev.Sampling(temperature=0.5, top_p=0.9, max_tokens=9, stop=("END",), seed=1),
)
TURN = ev.Turn(10, 5, 2, 12.5, 3.25)
FAILURE = ev.Failure("UNAVAILABLE", "ENGINE_FAILED", "gone", "wait", 250.0)
HISTORY = [
    ev.Queued(NOW, SPEC),
    ev.Claimed(NOW),
    ev.ThoughtAdded(NOW, 1, 1, "wrong"),
    ev.StepAbandoned(NOW, 1, 1, FAILURE, TURN),
    ev.ThoughtAdded(NOW, 1, 2, "right"),
    ev.ToolCalled(NOW, 1, 2, "call_1", "calculator", "1.0.0", {"expression": "12*7"}),
    ev.ToolCalled(NOW, 1, 2, "call_2", "teleport", "", {"to": [1, None, True]}, TURN),
    ev.ApprovalAsked(NOW, 1, 2, "call_1", "calculator"),
    ev.InputAsked(NOW, 1, 2, "call_2", "teleport"),
    ev.Waited(NOW, "approval", NOW + timedelta(hours=24)),
    ev.Resumed(NOW),
    ev.Waited(NOW, "continue", NOW + timedelta(hours=24), TURN),
    ev.Resumed(NOW),
    ev.ApprovalDecided(NOW, 1, 2, "call_1", "calculator", True, "go on", "her"),
    ev.ChildStarted(NOW, 1, 2, "call_2", "task_2"),
    ev.ToolReturned(NOW, 1, 2, "call_1", "calculator", "1.0.0", {"value": 84}, None, 1.5, 40),
    ev.ToolReturned(NOW, 1, 2, "call_2", "teleport", "", None, FAILURE, 2.5),
    ev.Steered(NOW, "Quickly", "her"),
    ev.Warned(NOW, "STEP_LIMIT_REACHED", "the agent has to answer"),
    ev.TextAdded(NOW, 2, 1, "84"),
    ev.Answered(NOW, 2, 1, "84", None, TURN),
]
REQUESTS = {"day": {"method": "elicitation/create", "params": {"message": "When?"}}}
DECLINED = {"day": {"action": "decline"}}
BLOCKS = ({"type": "image", "data": "aGk="}, {"type": "text", "text": "A cat."})
LARGE = Large("a" * 64, 70_000, "application/json", "")
CALLED = [
    ev.Started(NOW, replace(SPEC, pinned=ev.Pinned((("calculator", "1.0.0"),), 7))),
    ev.ToolCalled(NOW, 1, 1, "call_1", "calculator", "1.0.0", {}, TURN),
    ev.ToolProgressed(NOW, 1, 1, "call_1", "calculator", 1.5, 3, "half"),
    ev.ToolProgressed(NOW, 1, 1, "call_1", "calculator", 0),
    ev.ToolLogged(NOW, 1, 1, "call_1", "calculator", "notice", "odd"),
    ev.InputAsked(NOW, 1, 1, "call_1", "calculator", REQUESTS, "sealed"),
    ev.InputGiven(NOW, 1, 1, "call_1", "calculator", DECLINED, "her"),
    ev.InputAsked(NOW, 1, 1, "call_1", "calculator", REQUESTS),
    ev.InputGiven(NOW, 1, 1, "call_1", "calculator", DECLINED, "her"),
    ev.ToolReturned(NOW, 1, 1, "call_1", "calculator", "1.0.0", 1, None, 1.5, content=BLOCKS),
    ev.ToolCalled(NOW, 2, 1, "call_2", "calculator", "1.0.0", {}, TURN),
    ev.ToolReturned(NOW, 2, 1, "call_2", "calculator", "1.0.0", 1, None, 1.5, content=LARGE),
    ev.Answered(NOW, 3, 1, "84", {"value": 84}, None),
    ev.Completed(NOW),
]
BROKEN_OFF = replace(TURN, cost_usd=0.5)
ENDINGS = [
    ev.Completed(NOW),
    ev.Failed(NOW, FAILURE),
    ev.Failed(NOW, FAILURE, BROKEN_OFF),
    ev.Canceled(NOW, "enough"),
    ev.Canceled(NOW, "enough", BROKEN_OFF),
]


def stored(event: ev.Event, task: Task) -> StoredEvent:
    new = codec.encode(event, task)
    return StoredEvent(
        "default", "task_1", task.sequence, task.sequence, new.type, new.time, new.body
    )


def through_the_store(history: list[ev.Event]) -> list[ev.Event]:
    read, task = [], None
    for event in history:
        task = evolve(task, event)
        read.append(codec.decode(stored(event, task), "default"))
    return read


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: type(each).__name__)
def test_a_history_is_the_same_after_it_was_stored(ending: ev.Event) -> None:
    history = [*HISTORY, ending]

    read = through_the_store(history)

    assert read == history
    assert replay(read) == replay(history)


def test_what_the_cache_said_is_the_same_after_it_was_stored() -> None:
    request = pb.InvokeRequest(limits=pb.TaskLimits(steps=4), query="12*7?", cache="allow")
    spec = replace(SPEC, tools=(), limits=ev.Limits(4), labels={}, cache="allow")
    spec = replace(spec, request=request.SerializeToString())
    history = [
        ev.Started(NOW, spec),
        ev.Answered(NOW, 1, 1, "84", None, replace(TURN, is_cached=True)),
        ev.Completed(NOW),
    ]

    assert through_the_store(history) == history


def test_what_the_cache_said_is_told_apart_from_what_was_used() -> None:
    saved = replace(TURN, is_cached=True)
    history = [*HISTORY[:-1], ev.Answered(NOW, 2, 1, "84", None, saved), ev.Completed(NOW)]
    task = replay(history)

    answered = pb.TaskEvent.FromString(stored(history[-2], task).body)
    shown = mapping.task(task)

    assert (answered.cached, answered.usage.total_tokens) == (True, 15)
    assert shown.metadata.cached
    assert (shown.metrics.tokens_used, shown.metrics.tokens_saved) == (85, 15)


def test_what_a_task_says_of_the_cache_holds_for_the_tasks_below_it() -> None:
    spec = replace(AS_AGENT, cache="no-store", request=b"")
    task = evolve(None, ev.Started(NOW, spec))

    read = codec.decode(stored(ev.Started(NOW, spec), task), "default")

    assert isinstance(read, ev.Started)
    assert read.spec.cache == "no-store"


def test_what_tools_say_is_the_same_after_it_was_stored() -> None:
    read = through_the_store(CALLED)

    assert read == CALLED
    assert replay(read) == replay(CALLED)


def test_a_task_that_is_a_call_is_the_same_after_it_was_stored() -> None:
    request = pb.InvokeRequest(limits=pb.TaskLimits(steps=4))
    request.call.tool, request.call.version = "calculator", "^1"
    request.call.input.update({"expression": "12*7"})
    request.call.capabilities.SetInParent()
    call = ev.CallSpec("calculator", "^1", {"expression": "12*7"}, {})
    spec = replace(
        fakes.SPEC,
        query="",
        session_id="",
        limits=ev.Limits(4),
        request=request.SerializeToString(),
        call=call,
    )

    assert through_the_store([ev.Queued(NOW, spec)]) == [ev.Queued(NOW, spec)]


def test_a_started_task_is_the_same_after_it_was_stored() -> None:
    assert through_the_store([ev.Started(NOW, SPEC)]) == [ev.Started(NOW, SPEC)]


def test_a_task_of_an_agent_is_the_same_after_it_was_stored() -> None:
    task = evolve(None, ev.Started(NOW, AS_AGENT))

    read = codec.decode(stored(ev.Started(NOW, AS_AGENT), task), "default")

    assert isinstance(read, ev.Started)
    assert replace(read.spec, request=b"") == replace(AS_AGENT, request=b"")


def test_every_event_has_a_stored_name_and_every_name_is_read() -> None:
    assert set(codec.NAMES) == {event for _, event in NEXT}
    assert set(codec._READ) == {name for name, _ in codec.NAMES.values()}


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: type(each).__name__)
def test_only_an_ending_closes_a_log(ending: ev.Event) -> None:
    history = [*HISTORY, ending]
    tasks = [replay(history[: n + 1]) for n in range(len(history))]

    bodies = [stored(event, task).body for event, task in zip(history, tasks, strict=True)]

    assert [codec.closes(body) for body in bodies] == [False] * len(HISTORY) + [True]


def test_the_wire_shows_the_sequence_and_what_a_type_has() -> None:
    task = replay(HISTORY[:6])

    event = pb.TaskEvent.FromString(stored(HISTORY[5], task).body)

    assert (event.type, event.sequence, event.step_id, event.attempt) == (
        "tool_call",
        6,
        "step_1",
        2,
    )
    assert not event.HasField("usage")
    assert not event.HasField("text")


def test_a_long_tasks_chunks_are_bounded() -> None:
    task = replay(HISTORY)
    many = replace(task, steps=task.steps * 200, text="x" * 10_000)

    chunks = mapping.chunks(many)

    assert len(chunks) == mapping.MAX_CHUNKS
    assert len(chunks[-1].content) == mapping.CHUNK_CHARACTERS


def test_large_texts_of_a_request_stay_with_the_task() -> None:
    spec = replace(SPEC, large=(("messages[2]", Large("ab" * 32, 100_000, TEXT, "")),))

    assert through_the_store([ev.Started(NOW, spec)]) == [ev.Started(NOW, spec)]


def test_where_a_task_stands_in_its_session_is_kept() -> None:
    window = Window(3, 2, 1000, is_cut=True, summarize_through=4)
    spec = replace(SPEC, place=Place(3, 5, "task_0"))
    queued = [ev.Queued(NOW, spec), ev.Claimed(NOW, window)]
    started = [ev.Started(NOW, spec, window)]

    assert through_the_store(queued) == queued
    assert through_the_store(started) == started
    assert replay(queued).window == replay(started).window == window


def test_what_is_too_long_to_be_repeated_is_shown_by_its_beginning() -> None:
    long = {"text": "é" * 60_000}
    call = Call("call_1", "repeat", long, output=long, latency_ms=1.0)
    steps = (Step("", (call,) * 4),) * 31

    task = replace(replay(HISTORY), steps=steps, output=long)
    chunks = mapping.chunks(task)

    assert sum(chunk.ByteSize() for chunk in chunks) < 2 * 1024 * 1024  # Of 4 that may be sent.
    assert not any(chunk.HasField("input") or chunk.HasField("output") for chunk in chunks)
    assert {chunk.content[:12] for chunk in chunks[:-1]} == {'{"text": "éé'}
    assert chunks[-1].content == task.text
