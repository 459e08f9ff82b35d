"""Ids that sort by age."""

import re
import time

import pytest

from services.chassis import ids


def test_an_id_is_a_prefix_and_26_digits_that_fit_anywhere() -> None:
    assert re.fullmatch(r"task_[0-9a-hjkmnp-tv-z]{26}", ids.new("task"))


def test_ids_differ() -> None:
    assert len({ids.new("task") for _ in range(10_000)}) == 10_000


def test_a_later_millisecond_sorts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in (0, 1, 31, 32, 1_790_000_000_000, 2**48 - 1):
        monkeypatch.setattr(time, "time_ns", lambda at=milliseconds: at * 1_000_000)
        made.append(ids.new("task"))

    assert made == sorted(made)
