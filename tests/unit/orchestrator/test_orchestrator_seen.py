import pytest

from services.orchestrator.seen import AILING_SECONDS, STALE_SECONDS, Seen


class Clock:
    """A time that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_model_that_was_not_seen_is_not_known() -> None:
    assert Seen(Clock()).expected(("default", "a"), 10) is None


def test_what_a_turn_takes_is_its_first_token_and_the_rest_of_them() -> None:
    seen = Seen(Clock())

    seen.spoke(("default", "a"), first_seconds=1.0, seconds=2.0, tokens=101)

    assert seen.expected(("default", "a"), 51) == pytest.approx(1.5)


def test_no_more_is_expected_than_answers_usually_have() -> None:
    seen = Seen(Clock())

    seen.spoke(("default", "a"), first_seconds=1.0, seconds=2.0, tokens=101)

    assert seen.expected(("default", "a"), 100_000) == pytest.approx(1.0 + 0.01 * 151)


def test_the_latest_turns_count_most() -> None:
    seen = Seen(Clock())
    seen.spoke(("default", "a"), first_seconds=1.0, seconds=1.0, tokens=1)

    for _ in range(20):
        seen.spoke(("default", "a"), first_seconds=0.1, seconds=0.1, tokens=1)

    assert seen.expected(("default", "a"), 1) == pytest.approx(0.1, abs=0.02)


def test_what_was_seen_long_ago_does_not_count() -> None:
    clock = Clock()
    seen = Seen(clock)
    seen.spoke(("default", "a"), first_seconds=1.0, seconds=1.0, tokens=1)

    clock.time = STALE_SECONDS

    assert seen.expected(("default", "a"), 1) is None


def test_a_model_that_failed_is_ailing_for_a_while() -> None:
    clock = Clock()
    seen = Seen(clock)

    seen.failed(("default", "a"))
    at_once = seen.is_ailing(("default", "a"))
    clock.time = AILING_SECONDS

    assert (at_once, seen.is_ailing(("default", "a")), seen.is_ailing(("default", "b"))) == (
        True,
        False,
        False,
    )


def test_a_model_that_speaks_again_is_well() -> None:
    seen = Seen(Clock())
    seen.failed(("default", "a"))

    seen.spoke(("default", "a"), first_seconds=0.1, seconds=0.1, tokens=1)

    assert not seen.is_ailing(("default", "a"))


def test_what_one_tenant_sees_of_a_model_tells_no_other() -> None:
    seen = Seen(Clock())

    seen.spoke(("one", "a"), first_seconds=1.0, seconds=1.0, tokens=1)
    seen.failed(("one", "a"))

    assert seen.is_ailing(("one", "a"))
    assert not seen.is_ailing(("other", "a"))
    assert seen.expected(("other", "a"), 1) is None
