"""Which traces are shown as examples of what is measured."""

import pytest

from services.chassis.context import current, from_metadata
from services.chassis.exemplars import example, example_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def came_in(flags: str) -> None:
    current.set(from_metadata([("traceparent", f"00-{TRACE}-00f067aa0ba902b7-{flags}")]))


@pytest.mark.usefixtures("recorded")
def test_a_trace_that_is_recorded_is_an_example() -> None:
    came_in("01")

    assert example() == TRACE


@pytest.mark.usefixtures("recorded")
def test_a_trace_that_its_caller_does_not_record_is_none() -> None:
    came_in("00")

    assert example() == ""


@pytest.mark.usefixtures("in_a_request")
def test_without_a_collector_there_are_no_examples() -> None:
    came_in("01")

    assert example() == ""


@pytest.mark.usefixtures("recorded")
def test_work_of_nobody_has_no_trace() -> None:
    assert example_of(None) == ""
