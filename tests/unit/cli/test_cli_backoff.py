"""How long to wait before a restart."""

from datetime import timedelta

from services.cli.supervisor import Backoff

BACKOFF = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=10))


def test_the_first_restart_is_immediate() -> None:
    assert BACKOFF.delay(1) == 0


def test_later_restarts_wait_twice_as_long_each_time() -> None:
    assert [BACKOFF.delay(crashes) for crashes in (2, 3, 4, 5)] == [1, 2, 4, 8]


def test_no_restart_waits_longer_than_the_longest() -> None:
    assert [BACKOFF.delay(crashes) for crashes in (6, 7, 10_000)] == [10, 10, 10]
