"""What is counted of tasks, and of turns of models."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from services.chassis.errors import Unavailable
from services.chassis.histograms import CANCELED, OTHER_ERROR, Histogram
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Task, evolve
from services.orchestrator.inferences import Inferences
from services.orchestrator.measures import Measures
from tests.unit.orchestrator.fakes import NOW, SPEC


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def measured(*appends: Sequence[ev.Event]) -> Measures:
    """What is counted of a task whose log these appends are."""
    measures, task = Measures(), None
    for events in appends:
        before: Task | None = task
        for event in events:
            task = evolve(task, event)
        assert task is not None
        measures.appended(before, task, events)
    return measures


def totals(histogram: Histogram) -> dict[tuple[str, ...], tuple[int, float]]:
    """How many observations there are, and what they add up to, by labels."""
    return {
        labels: (sum(series.counts), round(series.total, 6))
        for labels, series in histogram.series.items()
    }


CALL = ev.ToolCalled(at(4), 1, 1, "call_1", "look", "1.0.0", {}, ev.Turn())
WAITED = [ev.Queued(NOW, SPEC)], [ev.Claimed(at(3))]


def test_the_time_in_a_state_counts_when_it_is_left() -> None:
    measures = measured(
        *WAITED,
        [CALL, ev.Waited(at(5), "approval", at(600))],
        [ev.Resumed(at(65))],
        [ev.Completed(at(67))],
    )

    assert totals(measures.stays) == {
        ("pending",): (1, 3.0),
        ("running",): (2, 4.0),
        ("waiting",): (1, 60.0),
    }


def test_what_happens_within_a_state_leaves_none() -> None:
    measures = measured(*WAITED, [CALL])

    assert totals(measures.stays) == {("pending",): (1, 3.0)}


def test_clocks_that_differ_make_no_time_negative() -> None:
    measures = measured([ev.Queued(NOW, SPEC)], [ev.Failed(at(-5), ev.Failure("A", "B", "c"))])

    assert totals(measures.stays) == {("pending",): (1, 0.0)}
    assert totals(measures.durations) == {("failed",): (1, 0.0)}


def test_calls_of_tools_count_when_their_task_ends() -> None:
    measures = measured(*WAITED, [CALL], [ev.Canceled(at(9), "enough")])

    assert totals(measures.calls) == {("canceled",): (1, 1.0)}


def test_a_turn_counts_its_time_and_its_tokens() -> None:
    inferences = Inferences()
    with inferences.begin("small") as asked:
        asked.heard(None)
        asked.heard(ev.Turn(prompt_tokens=30, completion_tokens=7, cached_tokens=20))

    assert list(totals(inferences.durations)) == [("small", "")]
    assert [number for number, _ in totals(inferences.firsts).values()] == [1]
    assert totals(inferences.prompts) == {("small",): (1, 30.0)}
    assert totals(inferences.answers) == {("small",): (1, 7.0)}
    counts = [each.counts for each in (inferences.sent, inferences.cached, inferences.received)]
    assert counts == [{("small",): 30}, {("small",): 20}, {("small",): 7}]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("ENGINE_FAILED", "it is away"), "ENGINE_FAILED"),
        (RuntimeError("a fault of ours"), OTHER_ERROR),
        (GeneratorExit(), CANCELED),
    ],
)
def test_a_turn_that_comes_to_nothing_says_why(error: BaseException, kind: str) -> None:
    inferences = Inferences()

    with pytest.raises(type(error)), inferences.begin("small"):
        raise error

    assert list(totals(inferences.durations)) == [("small", kind)]
    assert totals(inferences.firsts) == {}
    assert inferences.sent.counts == {}


def test_a_turn_without_its_last_message_was_not_canceled() -> None:
    inferences = Inferences()
    with inferences.begin("small") as asked:
        asked.heard(None)

    assert list(totals(inferences.durations)) == [("small", OTHER_ERROR)]
