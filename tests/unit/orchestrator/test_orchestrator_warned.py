"""What tools warn of, as a task has it."""

from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import evolve, replay
from services.orchestrator.domain.warned import (
    MOST_CHARACTERS,
    MOST_OF_A_CALL,
    MOST_OF_A_TASK,
    news,
)
from tests.unit.orchestrator.fakes import NOW, SPEC

STARTED = evolve(None, ev.Started(NOW, SPEC))


def test_a_task_is_warned_of_the_same_once() -> None:
    task = evolve(STARTED, ev.Warned(NOW, "TOOL_DEPRECATED", "use another"))
    said = [("TOOL_DEPRECATED", "use another"), ("TOOL_DEFAULTED", "it failed")]

    assert news(task, [*said, *said], NOW) == [ev.Warned(NOW, "TOOL_DEFAULTED", "it failed")]


def test_warnings_are_cut_to_what_a_task_takes() -> None:
    many = [("A_CODE", f"{number}" * 2000) for number in range(20)]

    found = news(STARTED, many, NOW)

    assert len(found) == MOST_OF_A_CALL
    assert max(len(each.message) for each in found) == MOST_CHARACTERS


def test_a_task_takes_no_more_warnings_than_its_end_can_hold() -> None:
    earlier = [ev.Warned(NOW, "A_CODE", str(number)) for number in range(MOST_OF_A_TASK)]
    task = replay([ev.Started(NOW, SPEC), *earlier])

    assert news(task, [("ANOTHER_CODE", "more")], NOW) == []


def test_a_code_that_is_none_is_not_passed_on() -> None:
    (found,) = news(STARTED, [("no code", "said")], NOW)

    assert (found.code, found.message) == ("TOOL_WARNED", "said")
