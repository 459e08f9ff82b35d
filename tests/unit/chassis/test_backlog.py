"""How much is let in while the event bus is away."""

import pytest

from services.chassis.errors import ResourceExhausted
from services.chassis.eventlog.backlog import Backlog


def test_what_says_nothing_new_is_let_in_however_much_waits() -> None:
    backlog = Backlog(most_per_partition=1)
    backlog.counted({"t": 5})  # As what was begun goes on all the same.

    backlog.admit("t", 0)

    assert backlog.counts == {"t": 5}
    with pytest.raises(ResourceExhausted):
        backlog.admit("t", 1)


def test_a_topic_of_which_nothing_waits_takes_any_number_at_once() -> None:
    backlog = Backlog(most_per_partition=2)

    backlog.admit("t", 5)

    assert backlog.counts == {"t": 5}
    with pytest.raises(ResourceExhausted):
        backlog.admit("t", 1)
