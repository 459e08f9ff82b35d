"""How requests ended, in words of closed sets."""

import pytest

from gateway.outcomes import outcome


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        (("/v1/tasks", "POST", 200), ("/v1/tasks", "POST", 200)),
        (("", "GET", 404), ("other", "GET", 404)),
        (("", "SECRET", 404), ("other", "other", 404)),
        (("/v1/tasks", "GET", 0), ("/v1/tasks", "GET", 499)),
    ],
    ids=["answered", "no route", "a method that is made up", "the client went away"],
)
def test_what_clients_make_up_is_in_no_outcome(
    said: tuple[str, str, int], ended: tuple[str, str, int]
) -> None:
    assert outcome(*said) == ended
