"""Log lines, and what happens when nobody takes them."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from services.chassis.concerning import concerning
from services.chassis.context import Principal, current, local_context
from services.chassis.errors import NotFound
from services.chassis.logs import logging_to_stderr

log = logging.getLogger("services.test.logs")
library = logging.getLogger("library.test.logs")


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Put back what logging to standard error changes for the whole process."""
    root = logging.getLogger()
    names = ("services", "gateway", "services.test.logs")
    before = [(each, each.level) for each in (root, *map(logging.getLogger, names))]
    yield
    for each, level in before:
        each.setLevel(level)


def lines(written: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.splitlines()]


def test_a_line_is_json_with_the_data_beside_a_constant_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logging_to_stderr("tester", "info"):
        log.info("thing done", extra={"count": 3, "odd": {1, 2}.__class__})

    (line,) = lines(capsys.readouterr().err)
    assert (line["level"], line["service"], line["logger"], line["message"], line["count"]) == (
        "info",
        "tester",
        "services.test.logs",
        "thing done",
        3,
    )
    assert str(line["time"]).endswith("+00:00")


def test_a_line_says_which_request_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    context = local_context(Principal("acme"))
    token, about = current.set(context), concerning.set({"task_id": "task_1"})
    with logging_to_stderr("tester", "info"):
        log.info("thing done")
    current.reset(token)
    concerning.reset(about)

    (line,) = lines(capsys.readouterr().err)
    assert (line["request_id"], line["trace_id"], line["span_id"]) == (
        context.request_id,
        context.trace_id,
        context.span_id,
    )
    assert (line["tenant"], line["task_id"]) == ("acme", "task_1")


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "info"):
        log.error("thing failed", exc_info=RuntimeError("broken\nin two"))

    (line,) = lines(capsys.readouterr().err)
    assert "RuntimeError: broken\nin two" in str(line["exception"])


def failed(said: str) -> Exception:
    """An error whose text quotes this, and so does what it came of."""
    try:
        try:
            int(said)
        except ValueError as error:
            raise NotFound("NO_SUCH_THING", f"{said} is not there") from error
    except NotFound as error:
        return error


@pytest.mark.parametrize("is_group", [False, True])
def test_what_an_error_quotes_is_not_part_of_its_line(
    capsys: pytest.CaptureFixture[str], is_group: bool
) -> None:
    error = failed("a prompt")
    with logging_to_stderr("tester", "debug"):
        log.error("failed", exc_info=ExceptionGroup("two", [error]) if is_group else error)

    written = capsys.readouterr().err
    exception = str(lines(written)[0]["exception"])
    assert "a prompt" not in written
    assert "builtins.ValueError" in exception
    assert "NotFound: NO_SUCH_THING" in exception
    assert "test_logs.py" in exception


def test_an_error_that_goes_round_in_circles_is_shown_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, other = TypeError("one"), TypeError("other")
    one.__cause__, other.__cause__ = other, one
    with logging_to_stderr("tester", "info"):
        log.error("thing failed", exc_info=one)

    (line,) = lines(capsys.readouterr().err)
    assert str(line["exception"]).splitlines() == [
        "builtins.TypeError: one",
        "builtins.TypeError: other",
    ]


def test_libraries_say_nothing_below_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "debug"):
        library.info("what it carries")
        library.warning("what is wrong")
        log.debug("what is done")

    said = [line["message"] for line in lines(capsys.readouterr().err)]
    assert said == ["what is wrong", "what is done"]


def test_a_logger_may_say_more_than_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "warning", {"services.test.logs": "debug"}):
        log.debug("more")
        logging.getLogger("services.test").info("as the others")

    assert [line["message"] for line in lines(capsys.readouterr().err)] == ["more"]


def test_a_message_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "info"):
        log.info("said %s", 'x"}\n{"message": "forged"}')

    assert len(lines(capsys.readouterr().err)) == 1


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "warning"):
        log.info("too quiet")
        log.warning("loud enough")

    assert [line["message"] for line in lines(capsys.readouterr().err)] == ["loud enough"]


def test_lines_are_lost_but_nobody_waits_when_standard_error_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            let_go.wait()
            return super().write(text)

    written = Stuck()
    monkeypatch.setattr(sys, "stderr", written)
    with logging_to_stderr("tester", "info"):
        for n in range(12_000):  # More than are kept: it is the test's time limit that would tell.
            log.info("line", extra={"n": n})
        threading.Timer(0.2, let_go.set).start()  # Stopping has begun by then: it has to wait.

    kept = [line["n"] for line in lines(written.getvalue())]
    assert kept[:100] == list(range(100))
    assert 10_000 <= len(kept) < 12_000
