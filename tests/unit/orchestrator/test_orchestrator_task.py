from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.chassis.errors import FailedPrecondition
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.repeating import repeats_a_failure
from services.orchestrator.domain.task import (
    CLOSED,
    NEXT,
    Call,
    State,
    Step,
    check_cancel,
    evolve,
    replay,
)
from tests.unit.orchestrator.fakes import NOW, SPEC

START = ev.Started(NOW, SPEC)


def at(ms: int) -> datetime:
    return NOW + timedelta(milliseconds=ms)


def test_no_event_leads_out_of_a_closed_state() -> None:
    assert not [pair for pair in NEXT if pair[0] in CLOSED]


def test_every_state_is_reached_by_some_event() -> None:
    assert set(NEXT.values()) == set(State)


def test_an_event_that_cannot_happen_now_is_an_error() -> None:
    done = replay([START, ev.Completed(NOW)])

    with pytest.raises(KeyError):
        evolve(done, ev.TextAdded(NOW, 1, 1, "late"))


def test_a_log_cannot_begin_in_the_middle() -> None:
    with pytest.raises(KeyError):
        evolve(None, ev.Completed(NOW))


def test_sequence_counts_every_event() -> None:
    task = replay([START, *(ev.TextAdded(NOW, 1, 1, "x") for _ in range(5))])

    assert task.sequence == 6
    assert task.text == "xxxxx"


def test_an_abandoned_attempt_takes_its_words_back_and_keeps_its_tokens() -> None:
    turn = ev.Turn(prompt_tokens=10, completion_tokens=5, duration_ms=7)
    failure = ev.Failure("UNAVAILABLE", "ENGINE_FAILED", "gone")

    task = replay(
        [
            START,
            ev.ThoughtAdded(NOW, 1, 1, "wrong"),
            ev.TextAdded(NOW, 1, 1, "half an ans"),
            ev.StepAbandoned(NOW, 1, 1, failure, turn),
            ev.ThoughtAdded(NOW, 1, 2, "right"),
            ev.Answered(NOW, 1, 2, "answer", None, turn),
            ev.Completed(NOW),
        ]
    )

    assert task.text == "answer"
    assert [step.thought for step in task.steps] == ["right"]
    assert task.tokens == 30
    assert task.thought_ms == 14


def test_tools_that_run_side_by_side_count_once() -> None:
    def called(call_id: str) -> ev.ToolCalled:
        return ev.ToolCalled(at(0), 1, 1, call_id, "calculator", "1.0.0", {})

    def returned(call_id: str, ms: int) -> ev.ToolReturned:
        return ev.ToolReturned(at(ms), 1, 1, call_id, "calculator", "1.0.0", {}, None, ms)

    history = [START, called("a"), called("b"), returned("b", 30), returned("a", 50)]
    task = replay(history)

    assert task.tool_ms == 50
    assert [call.latency_ms for call in task.steps[0].calls] == [50, 30]


def test_the_first_turn_says_when_the_first_token_came() -> None:
    first, second = ev.Turn(time_to_first_token_ms=5.0), ev.Turn(time_to_first_token_ms=9.0)
    failure = ev.Failure("UNAVAILABLE", "ENGINE_FAILED", "gone")

    task = replay(
        [
            START,
            ev.StepAbandoned(NOW, 1, 1, failure, first),
            ev.Answered(NOW, 1, 2, "a", None, second),
        ]
    )

    assert task.time_to_first_token_ms == 5.0


def test_cancel_is_refused_for_a_task_that_ended_by_itself() -> None:
    done = replay([START, ev.Completed(NOW)])

    with pytest.raises(FailedPrecondition) as caught:
        check_cancel(done)

    assert caught.value.reason == "TASK_ALREADY_ENDED"
    assert caught.value.metadata["suggested_fix"]


def test_cancel_of_a_canceled_task_has_nothing_to_do() -> None:
    canceled = replay([START, ev.Canceled(NOW, "enough")])

    assert check_cancel(canceled) is False
    assert check_cancel(replace(canceled, state=State.RUNNING)) is True


FAILURE = ev.Failure("UNAVAILABLE", "PEER_UNAVAILABLE", "gone")
REPEATS = {
    "the same again": ([("a", {"x": 1, "y": 2}, FAILURE)], [("a", {"y": 2, "x": 1}, None)], True),
    "one of several": (
        [("b", {}, None), ("a", {}, FAILURE)],
        [("c", {}, None), ("a", {}, None)],
        True,
    ),
    "another input": ([("a", {"x": 1}, FAILURE)], [("a", {"x": 2}, FAILURE)], False),
    "another tool": ([("a", {}, FAILURE)], [("b", {}, None)], False),
    "one that had done it": ([("a", {}, None)], [("a", {}, FAILURE)], False),
}


@pytest.mark.parametrize("name", REPEATS)
def test_a_call_that_had_failed_is_known_again(name: str) -> None:
    before, now, expected = REPEATS[name]

    def step(calls: list[tuple[str, dict[str, object], ev.Failure | None]]) -> Step:
        return Step("", tuple(Call("call", tool, given, failure=end) for tool, given, end in calls))

    assert repeats_a_failure([step(before), step(now)]) is expected
    assert repeats_a_failure([step(before), Step(), step(now)]) is expected


def test_a_failure_is_not_repeated_by_itself() -> None:
    failed = Step(
        "", (Call("call", "a", {}, failure=FAILURE), Call("call", "a", {}, failure=FAILURE))
    )

    assert not repeats_a_failure([])
    assert not repeats_a_failure([failed])
