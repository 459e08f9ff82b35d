from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import StoredEvent
from services.orchestrator.adapters import sessionstore
from services.orchestrator.adapters.sessionstore import EventStoreSessions
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.task import State, evolve
from services.orchestrator.domain.wanted import copied, forked
from tests.unit.orchestrator.fakes import NOW, SPEC

LATER = NOW + timedelta(seconds=1)
CREATED = ss.Created(NOW, "session_1", "default", "local", "enqueue", {"team": "a"}, "session_0")
HISTORY: list[ss.Event] = [
    CREATED,
    ss.TurnAdded(NOW, 1, "task_1", has_answer=False, is_forked=True),
    ss.TurnAdded(LATER, 2, "task_2"),
    ss.TurnVoided(LATER, "task_2"),
    ss.TurnAdded(LATER, 3, "task_3"),
    ss.Summarized(LATER, ss.Summary("They said hello.", 2, 3)),
    ss.Updated(LATER, "reject", {}),
    ss.Deleted(LATER),
]
SESSION = ss.Session("session_1", "default", "local", "reject", {}, NOW, NOW, 0, 1, "task_1")


def added_up(*events: ss.Event) -> ss.Session:
    session: ss.Session | None = None
    for event in events:
        session = ss.evolve(session, event)
    assert session is not None
    return session


def exchange(turn: int, query: str, answer: str, state: State = State.COMPLETED) -> ss.Exchange:
    said = ss.Transcript(f"task_{turn}", state, query, answer, NOW, LATER)
    return ss.Exchange(turn + 1, turn, said)


def test_a_session_is_what_its_events_add_up_to() -> None:
    session = added_up(*HISTORY)

    assert (session.sequence, session.turns, session.last) == (8, 3, "task_3")
    assert session.summary == ss.Summary("They said hello.", 2, 3, sequence=6)
    assert (session.create_time, session.update_time) == (NOW, LATER)
    assert (session.on_busy, session.labels) == ("reject", {})
    assert session.is_deleted


@pytest.mark.parametrize("turn", [HISTORY[1], HISTORY[3]], ids=["forked", "voided"])
def test_a_turn_without_a_task_of_its_own_keeps_nobody_waiting(turn: ss.Event) -> None:
    assert added_up(*HISTORY[: HISTORY.index(turn) + 1]).last == ""


def test_nothing_happens_in_a_session_that_is_deleted() -> None:
    with pytest.raises(KeyError):
        added_up(*HISTORY, ss.TurnAdded(NOW, 4, "task_4"))


@pytest.mark.parametrize("event", HISTORY, ids=lambda event: type(event).__name__)
def test_events_come_back_from_the_store_as_they_went(event: ss.Event) -> None:
    new = sessionstore.encode(event)
    stored = StoredEvent("default", "session_1", 6, 9, new.type, new.time, new.body)

    if isinstance(event, ss.Summarized):
        event = replace(event, summary=replace(event.summary, sequence=6))
    assert sessionstore.decode(stored) == event


async def test_the_record_of_a_session_says_what_its_events_do() -> None:
    store = EventStoreSessions(MemoryEventStore())
    session: ss.Session | None = None
    for number, event in enumerate(HISTORY, 1):
        session = await store.append(session, [event])

        assert session == added_up(*HISTORY[:number])
        assert await store.find("default", "session_1") == session


async def test_a_session_that_began_with_a_task_gets_the_events_it_would_have_had() -> None:
    events = MemoryEventStore()
    store = EventStoreSessions(events)
    before = mapped(await store.events(SESSION, after=0, limit=9))

    session = await store.append(SESSION, [ss.TurnAdded(LATER, 2, "task_2")])
    after = mapped(await store.events(session, after=0, limit=9))

    assert before == {1: "Created", 2: "TurnAdded"}
    assert after == {**before, 3: "TurnAdded"}
    assert (session.sequence, session.turns, session.last) == (3, 2, "task_2")


def mapped(events: object) -> dict[int, str]:
    return {at: type(event).__name__ for at, event in events}  # type: ignore[attr-defined]


def test_a_task_that_names_no_session_begins_one() -> None:
    task = evolve(None, ev.Started(NOW, replace(SPEC, labels={"a": "b"}, on_busy="enqueue")))

    record = sessionstore.opened(task)

    assert (record.kind, record.id) == ("session", "session_1")
    assert record.attributes["labels.a"] == "b"


def test_messages_have_the_numbers_of_their_turns() -> None:
    two = exchange(2, "How are you?", "Well.")
    goes_on = exchange(3, "And now?", "", State.RUNNING)
    cut = replace(two, has_answer=False)

    assert [line.number for line in two.lines] == [3, 4]
    assert [line.number for line in goes_on.lines] == [5]
    assert [line.number for line in cut.lines] == [3]


def test_what_was_not_to_the_end_is_said_all_the_same() -> None:
    lines = exchange(1, "Hello?", "Hel", State.CANCELED).lines

    assert [line.content for line in lines] == ["Hello?", "Hel"]


@pytest.mark.parametrize("session", [None, added_up(*HISTORY)], ids=["none", "deleted"])
def test_there_is_no_session_that_is_not_or_is_no_more(session: ss.Session | None) -> None:
    with pytest.raises(NotFound) as caught:
        ss.existing(session, "session_1")

    assert caught.value.reason == "SESSION_NOT_FOUND"


def test_a_session_has_an_end() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        ss.check_room(replace(SESSION, turns=ss.MAX_TURNS))

    assert caught.value.reason == "SESSION_FULL"


@pytest.mark.parametrize(
    ("message", "turns", "has_summary"),
    [(0, [1, 2, 4], True), (8, [1, 2, 4], True), (4, [1, 2], True), (3, [1, 2], False)],
)
def test_a_fork_has_the_turns_and_the_summary_up_to_its_message(
    message: int, turns: list[int], has_summary: bool
) -> None:
    said = [exchange(n, "q", "a") for n in (1, 2, 4)]  # The third came to nothing.
    copies = [copied(each, NOW) for each in said]
    summary = ss.Summary("We met.", 2, 3, 9)

    events = forked(CREATED, copies, summary, message)
    session = added_up(*events)

    assert [each.turn for each in events if isinstance(each, ss.TurnAdded)] == turns
    assert (session.turns, session.last) == (turns[-1], "")
    assert (session.summary is not None) is has_summary
    if session.summary is not None:
        assert isinstance(events[session.summary.through - 1], ss.TurnAdded)
        assert events[session.summary.through - 1].turn == 2
