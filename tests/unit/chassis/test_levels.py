"""Levels of loggers: which they can have, and changes that are taken back."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.chassis.levels import MOST_CHANGES, Levels
from services.chassis.settings import ProcessSettings
from tests.unit.leaping import LeapingLoop

NAME = "services.test_levels"


@pytest.fixture
def levels() -> Iterator[Levels]:
    logger = logging.getLogger(NAME)  # It is there, whichever test is the first.
    changed = Levels()
    yield changed
    changed.clear()
    logger.setLevel(logging.NOTSET)


def level() -> int:
    return logging.getLogger(NAME).level


def test_a_change_lasts_until_it_is_taken_back(levels: Levels) -> None:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    levels.change(NAME, "debug", None)
    changed = level()

    levels.take_back(NAME)

    assert (changed, level()) == (logging.DEBUG, logging.ERROR)


def test_a_second_change_is_taken_back_to_what_was_before_the_first(levels: Levels) -> None:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    levels.change(NAME, "debug", None)
    levels.change(NAME, "info", None)

    levels.take_back(NAME)

    assert level() == logging.ERROR


async def test_what_lasts_for_a_while_says_how_long_it_still_does(levels: Levels) -> None:
    levels.change(NAME, "debug", timedelta(minutes=10))

    (change,) = levels.shown()["changes"]
    assert change["logger"] == NAME
    assert 590 < change["reverts_in_seconds"] <= 600


def test_what_lasts_for_a_while_ends_by_itself(levels: Levels) -> None:
    async def after(seconds: float) -> int:
        await asyncio.sleep(seconds)
        return level()

    async def changed() -> tuple[int, int]:
        levels.change(NAME, "debug", timedelta(seconds=60))
        return await after(59), await after(2)

    logging.getLogger(NAME).setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        seen = runner.run(changed())

    assert seen == (logging.DEBUG, logging.ERROR)


@pytest.mark.parametrize(
    ("logger", "asked", "field", "fix"),
    [
        ("services", "loud", "level", "use one of"),
        ("services", "DEBUG", "level", "use one of"),
        ("mcp.server", "debug", "logger", "use warning or error"),
        ("servicesque", "info", "logger", "use warning or error"),
        ("", "error", "logger", "name one"),
        ("root is not named", "error", "logger", "name one"),
        ("services." + "x" * 65, "debug", "logger", "name one"),
        ("services.chassis.levls", "debug", "logger", "name a module that this process has"),
    ],
)
def test_a_level_that_a_logger_cannot_have_is_refused(
    levels: Levels, logger: str, asked: str, field: str, fix: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        levels.change(logger, asked, None)

    violation = refused.value.violations[0]
    assert (violation.field, violation.suggested_fix[: len(fix)]) == (field, fix)
    assert levels.shown()["changes"] == []


def test_who_changes_a_level_leaves_a_trace(
    levels: Levels, caplog: pytest.LogCaptureFixture
) -> None:
    levels.change(NAME, "error", None)
    levels.take_back(NAME)

    said = [each.message for each in caplog.records if vars(each).get("changed") == NAME]
    assert said == ["log level changed", "log level taken back"]


def test_no_more_loggers_are_changed_than_are_kept(levels: Levels) -> None:
    names = [f"services.test_levels_{number}" for number in range(MOST_CHANGES)]
    for name in names:
        logging.getLogger(name)
        levels.change(name, "error", None)

    with pytest.raises(ResourceExhausted) as refused:
        levels.change(NAME, "error", None)

    assert refused.value.reason == "LOG_LEVELS_EXHAUSTED"


def test_levels_of_single_loggers_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPLANE_LOG__LEVELS", '{"gateway.access": "debug", "mcp": "error"}')

    assert ProcessSettings().log.levels == {"gateway.access": "debug", "mcp": "error"}


@pytest.mark.parametrize("said", ['{"mcp": "debug"}', '{"services": "all"}', '["services"]'])
def test_levels_that_loggers_cannot_have_are_no_settings(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("RUNPLANE_LOG__LEVELS", said)

    with pytest.raises(ValueError, match="levels"):
        ProcessSettings()
