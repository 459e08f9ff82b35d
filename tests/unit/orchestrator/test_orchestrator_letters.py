from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.asking import MAX_RESPONSE_BYTES
from services.orchestrator.domain.letters import (
    MAX_OUTPUT_BYTES,
    Cancel,
    Decide,
    GoOn,
    Moment,
    Moved,
    Pause,
    Respond,
    Return,
    Say,
    Word,
    check,
    heard,
    is_news,
    read,
    written,
)
from services.orchestrator.domain.task import State, Task, evolve, replay
from tests.unit.orchestrator.fakes import NOW, SPEC

LATER = NOW + timedelta(seconds=60)
UNTIL = NOW + timedelta(hours=24)
MOMENT = Moment(LATER, timedelta(hours=24))
APPROVE = Decide("call_1", is_approved=True, comment="", author="her")
DENY = Decide("call_1", is_approved=False, comment="no", author="her")
SAY = Say("Stop", "her")
RETURN = Return("call_2", {"sum": 4}, "")
RESPOND = Respond("call_3", {"day": {"action": "accept", "content": {"day": 7}}}, "her")
DECLINE = Decide("call_3", is_approved=False, comment="", author="her")
ONCE = Say("Stop", "her", "key")
MOVED = Moved("task_2")
WORDS: Sequence[Word] = [
    Cancel("enough"),
    SAY,
    ONCE,
    APPROVE,
    DENY,
    RETURN,
    RESPOND,
    MOVED,
    Pause(),
    GoOn(),
]

ASKED = [
    ev.Started(NOW, SPEC),
    ev.ToolCalled(NOW, 1, 1, "call_1", "look", "1.0.0", {}),
    ev.ToolCalled(NOW, 1, 1, "call_2", "add", "", {}, ev.Turn()),
    ev.ApprovalAsked(NOW, 1, 1, "call_1", "look"),
    ev.InputAsked(NOW, 1, 1, "call_2", "add"),
]
REQUESTS = {"day": {"method": "elicitation/create", "params": {"message": "When?"}}}
ASKS = replay(
    [
        ev.Started(NOW, SPEC),
        ev.ToolCalled(NOW, 1, 1, "call_3", "book", "1.0.0", {}, ev.Turn()),
        ev.InputAsked(NOW, 1, 1, "call_3", "book", REQUESTS, "sealed"),
        ev.Waited(NOW, "input", UNTIL),
    ]
)
TWO = dict.fromkeys(("day", "hour"), REQUESTS["day"])
ASKS_TWO = replay(
    [
        ev.Started(NOW, SPEC),
        ev.ToolCalled(NOW, 1, 1, "call_3", "book", "1.0.0", {}, ev.Turn()),
        ev.InputAsked(NOW, 1, 1, "call_3", "book", TWO, "sealed"),
        ev.Waited(NOW, "input", UNTIL),
    ]
)
HOUR = Respond("call_3", {"hour": {"action": "decline"}}, "him")
ANSWERED = replay(
    [
        ev.Started(NOW, SPEC),
        ev.ToolCalled(NOW, 1, 1, "call_1", "book", "1.0.0", {}, ev.Turn()),
        ev.InputAsked(NOW, 1, 1, "call_1", "book", REQUESTS, "sealed"),
        ev.InputGiven(NOW, 1, 1, "call_1", "book", RESPOND.responses, "her"),
        ev.ApprovalAsked(NOW, 1, 1, "call_1", "book"),
        ev.Waited(NOW, "approval", UNTIL),
    ]
)
WAITS = replay([*ASKED, ev.Waited(NOW, "approval", UNTIL)])
SPEAKS = replay([ev.Started(NOW, SPEC), ev.TextAdded(NOW, 1, 1, "Hel")])
CUT = evolve(SPEAKS, ev.Waited(NOW, "continue", UNTIL))
QUEUED = replay([ev.Queued(NOW, SPEC)])
PAUSED = replay([ev.Started(NOW, SPEC), ev.Waited(NOW, "continue", UNTIL)])


def kinds(task: Task, *words: Word) -> list[str]:
    return [type(event).__name__ for event in heard(task, words, MOMENT)]


@pytest.mark.parametrize("word", WORDS, ids=lambda each: type(each).__name__)
def test_a_letter_says_what_was_written(word: Word) -> None:
    assert read(*written(word)) == word


CHILD_WAITS = replay(
    [
        ev.Started(NOW, SPEC),
        ev.ToolCalled(NOW, 1, 1, "call_4", "agent__hand", "1", {}, ev.Turn()),
        ev.ChildStarted(NOW, 1, 1, "call_4", "task_2"),
        ev.ChildChanged(NOW, 1, 1, "call_4", "agent__hand", "task_2", "approval"),
        ev.Waited(NOW, "child", UNTIL),
    ]
)

CASES: list[tuple[Task, Sequence[Word], list[str]]] = [
    (CHILD_WAITS, [MOVED, MOVED], ["Resumed", "ChildChanged"]),
    (CHILD_WAITS, [Moved("task_3")], []),
    (WAITS, [MOVED], []),
    (PAUSED, [ONCE, ONCE], ["Resumed", "Steered"]),
    (PAUSED, [ONCE, Say("Go", "her", "key")], ["Resumed", "Steered"]),
    (PAUSED, [ONCE, Say("Stop", "him", "key")], ["Resumed", "Steered", "Steered"]),
    (PAUSED, [SAY, SAY], ["Resumed", "Steered", "Steered"]),
    (WAITS, [APPROVE], ["Resumed", "ApprovalDecided"]),
    (ASKS, [RESPOND], ["Resumed", "InputGiven"]),
    (ASKS, [DECLINE], ["Resumed", "InputGiven"]),
    (ASKS, [RESPOND, DECLINE, RESPOND], ["Resumed", "InputGiven"]),
    (ASKS, [Return("call_3", 7, "")], []),
    (ANSWERED, [APPROVE], ["Resumed", "ApprovalDecided"]),
    (ANSWERED, [DENY], ["Resumed", "ApprovalDecided", "ToolReturned"]),
    (ASKS_TWO, [RESPOND], ["InputReceived"]),
    (ASKS_TWO, [RESPOND, RESPOND], ["InputReceived"]),
    (ASKS_TWO, [RESPOND, HOUR, HOUR], ["InputReceived", "Resumed", "InputGiven"]),
    (ASKS_TWO, [RESPOND, DECLINE], ["InputReceived", "Resumed", "InputGiven"]),
    (ASKS_TWO, [Respond("call_3", {}, "her")], []),
    (WAITS, [DENY], ["Resumed", "ApprovalDecided", "ToolReturned"]),
    (WAITS, [RETURN], ["Resumed", "ToolReturned"]),
    (WAITS, [APPROVE, RETURN], ["Resumed", "ApprovalDecided", "ToolReturned"]),
    (WAITS, [APPROVE, DENY], ["Resumed", "ApprovalDecided"]),
    (WAITS, [RETURN, RETURN], ["Resumed", "ToolReturned"]),
    (WAITS, [SAY], ["Resumed", "Steered"]),
    (WAITS, [GoOn()], []),
    (WAITS, [Pause()], []),
    (WAITS, [Return("call_1", None, "")], []),
    (PAUSED, [GoOn()], ["Resumed"]),
    (PAUSED, [GoOn(), GoOn()], ["Resumed"]),
    (PAUSED, [SAY], ["Resumed", "Steered"]),
    (PAUSED, [APPROVE], []),
    (SPEAKS, [SAY], ["StepAbandoned", "Steered"]),
    (SPEAKS, [SAY, SAY], ["StepAbandoned", "Steered", "Steered"]),
    (SPEAKS, [Pause()], ["Waited"]),
    (SPEAKS, [Pause(), Pause()], ["Waited"]),
    (SPEAKS, [Pause(), GoOn()], ["Waited", "Resumed"]),
    (SPEAKS, [Pause(), SAY], ["Waited", "Resumed", "StepAbandoned", "Steered"]),
    (CUT, [SAY], ["Resumed", "StepAbandoned", "Steered"]),
    (CUT, [GoOn()], ["Resumed"]),
    (QUEUED, [Pause()], []),
    (replay(ASKED), [APPROVE], ["ApprovalDecided"]),
    (evolve(WAITS, ev.Canceled(NOW, "")), WORDS, []),
]


@pytest.mark.parametrize(("task", "words", "expected"), CASES)
def test_a_task_goes_on_by_what_it_waits_for(
    task: Task, words: Sequence[Word], expected: list[str]
) -> None:
    assert kinds(task, *words) == expected


def test_every_event_that_a_word_makes_can_happen() -> None:
    task = WAITS
    for event in heard(task, [SAY, APPROVE, RETURN], MOMENT):
        task = evolve(task, event)

    assert task.state is State.RUNNING
    assert [call.is_approved for call in task.steps[0].calls] == [True, None]
    assert task.said == ((1, "Stop"),)


def test_a_denial_declines_each_of_what_a_tool_asks_for() -> None:
    (_, given) = heard(ASKS, [DECLINE], MOMENT)

    assert isinstance(given, ev.InputGiven)
    assert (given.responses, given.author) == ({"day": {"action": "decline"}}, "her")


def test_an_answer_makes_the_call_again_with_what_the_tool_gave() -> None:
    task = ASKS
    for event in heard(ASKS, [RESPOND], MOMENT):
        task = evolve(task, event)

    (call,) = task.unreturned
    assert (call.wants, call.responses, call.request_state) == ("", RESPOND.responses, "sealed")
    assert (call.rounds, call.answers) == (1, 1)


def test_what_is_no_answer_changes_nothing() -> None:
    with pytest.raises(InvalidArgument) as caught:
        is_news(ASKS, replace(RESPOND, responses={"day": {"action": "accept"}, "month": {}}))

    assert [each.field for each in caught.value.violations] == ["input_responses.month"]
    assert kinds(ASKS, replace(RESPOND, responses={})) == []


def test_answers_are_bounded() -> None:
    with pytest.raises(InvalidArgument):
        check(replace(RESPOND, responses={"day": {"content": "a" * MAX_RESPONSE_BYTES}}))


def test_time_that_a_task_waits_does_not_count() -> None:
    resumed = evolve(WAITS, ev.Resumed(LATER))

    assert resumed.deadline == SPEC.deadline + timedelta(seconds=60)
    assert resumed.tools_began == LATER


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (Decide("call_2", is_approved=True, comment="", author=""), "APPROVAL_NOT_PENDING"),
        (Decide("call_9", is_approved=True, comment="", author=""), "APPROVAL_NOT_PENDING"),
        (Return("call_1", None, ""), "INPUT_NOT_REQUIRED"),
    ],
)
def test_a_word_for_a_call_that_does_not_wait_for_it_is_refused(word: Word, reason: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        is_news(WAITS, word)

    assert caught.value.reason == reason


def test_what_was_decided_can_be_said_again_and_not_changed() -> None:
    decided = replay([*ASKED, ev.ApprovalDecided(NOW, 1, 1, "call_1", "look", True, "", "her")])

    assert not is_news(decided, APPROVE)
    with pytest.raises(FailedPrecondition):
        is_news(decided, DENY)


def test_a_clients_result_may_have_what_a_tools_may() -> None:
    fits = "é" * (MAX_OUTPUT_BYTES // 2 - 1)

    check(Return("call_2", fits, ""))
    with pytest.raises(InvalidArgument) as caught:
        check(Return("call_2", fits + "x", ""))
    assert caught.value.violations[0].field == "output"


def test_a_letter_is_about_as_long_as_what_it_brings() -> None:
    _, body = written(Return("call_2", "漢" * 1000, ""))

    assert 3000 < len(body.encode()) < 3100


def test_answers_that_come_one_by_one_are_given_together_and_the_first_of_each_counts() -> None:
    other = Respond("call_3", {**HOUR.responses, "day": {"action": "cancel"}}, "him")

    *_, given = heard(ASKS_TWO, [RESPOND, other], MOMENT)

    assert isinstance(given, ev.InputGiven)
    assert given.responses == {**RESPOND.responses, **HOUR.responses}


def test_a_task_that_has_a_part_of_its_answers_waits_on_for_the_others() -> None:
    (received,) = heard(ASKS_TWO, [RESPOND], MOMENT)

    task = evolve(ASKS_TWO, received)

    (call,) = task.pending
    assert (task.state, task.deadline) == (State.WAITING, ASKS_TWO.deadline)
    assert list(call.unanswered) == ["hour"]


def test_a_denial_declines_what_nobody_has_answered() -> None:
    *_, given = heard(ASKS_TWO, [RESPOND, DECLINE], MOMENT)

    assert isinstance(given, ev.InputGiven)
    assert given.responses == {**RESPOND.responses, "hour": {"action": "decline"}}


def test_what_a_tool_asks_for_anew_is_answered_anew() -> None:
    again = ev.InputAsked(LATER, 1, 1, "call_3", "book", TWO)
    task = ASKS_TWO
    for event in [*heard(task, [RESPOND, HOUR], MOMENT), again]:
        task = evolve(task, event)

    assert list(task.pending[0].unanswered) == ["day", "hour"]
    assert is_news(task, RESPOND)


def test_answers_that_are_too_much_together_are_refused() -> None:
    much = {"action": "accept", "content": {"said": "x" * (MAX_RESPONSE_BYTES // 2)}}
    (received,) = heard(ASKS_TWO, [Respond("call_3", {"day": much}, "her")], MOMENT)

    with pytest.raises(InvalidArgument):
        is_news(evolve(ASKS_TWO, received), Respond("call_3", {"hour": much}, "her"))
