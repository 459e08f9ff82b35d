"""Log lines, and what happens when nobody takes them."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.chassis.concerning import concerning
from services.chassis.context import Principal, current, local_context
from services.chassis.errors import NotFound
from services.chassis.logs import logging_to_stderr
from services.chassis.sparing import A_SECOND, Sparing
from tests.conftest import FakeClock

log = logging.getLogger("services.test.logs")
library = logging.getLogger("library.test.logs")


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Put back what logging to standard error changes for the whole process."""
    root = logging.getLogger()
    names = ("services", "gateway", "services.test.logs", "mcp")
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


def test_what_servers_of_tenants_say_is_not_part_of_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("mcp").setLevel(logging.NOTSET)  # A registry in this process silences it.
    client = logging.getLogger("mcp.client.streamable_http")
    with logging_to_stderr("tester", "debug"):
        client.warning(f"Unknown SSE event: {'a prompt'}")
        client.warning("notification handler for %r raised", "a prompt")

    written = capsys.readouterr().err
    assert [line["message"] for line in lines(written)] == [
        "Unknown SSE event",
        "notification handler for %r raised",
    ]


def test_a_logger_may_say_more_than_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "warning", {"services.test.logs": "debug"}):
        log.debug("more")
        logging.getLogger("services.test").info("as the others")

    assert [line["message"] for line in lines(capsys.readouterr().err)] == ["more"]


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_a_message_cannot_forge_a_line(capsys: pytest.CaptureFixture[str], end: str) -> None:
    forged = f'x"}}{end}{{"message": "forged"}}'
    with logging_to_stderr("tester", "info"):
        log.info("said %s", forged, extra={"also": forged})

    (line,) = lines(capsys.readouterr().err)
    assert line["also"] == forged


def test_what_steers_terminals_is_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "\x1b[2J\x9b31m\u202e\ud800\x07"
    with logging_to_stderr("tester", "info"):
        log.info("said", extra={"odd": odd})

    written = capsys.readouterr().err
    assert written.rstrip("\n").isprintable()
    assert written.isascii()
    assert lines(written)[0]["odd"] == odd


def test_a_huge_text_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "info"):
        log.info("said %s", "x" * 1_000_000, extra={"a": "y" * 1_000_000, "b": ["z" * 3_000]})

    written = capsys.readouterr().err
    assert len(written) < 10_000
    assert lines(written)[0]["a"] == "y" * 2_000 + "…"


def test_an_error_that_is_said_by_itself_is_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "info"):
        log.info("said", extra={"cause": ValueError("a prompt")})

    assert lines(capsys.readouterr().err)[0]["cause"] == "ValueError"


def test_what_a_library_or_a_file_is_called_is_not_part_of_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logging_to_stderr("tester", "info"):
        for code in ("raise RuntimeError('a prompt')", "open('/a prompt')", "{}['a prompt']"):
            try:
                exec(code, {"__name__": "mcp.client"})  # noqa: S102 - a library's module
            except (RuntimeError, OSError, KeyError):
                log.exception("failed")

    written = capsys.readouterr().err
    shown = [str(each["exception"]).splitlines()[-1] for each in lines(written)]
    assert "a prompt" not in "".join(shown)
    assert shown[1] == "builtins.FileNotFoundError: [Errno 2] No such file or directory"


def test_a_flood_of_lines_is_spared_and_counted(
    capsys: pytest.CaptureFixture[str], clock: FakeClock
) -> None:
    sparing = Sparing(clock.monotonic)
    record = logging.makeLogRecord({"name": "services.test.logs", "msg": "call failed"})
    other = logging.makeLogRecord({"name": "services.test.logs", "msg": "another"})
    with logging_to_stderr("tester", "info"):
        passed = sum(sparing.filter(record) for _ in range(1_000))
        is_other_passed = sparing.filter(other)
        clock.advance(timedelta(seconds=1))
        again = logging.makeLogRecord({"name": "services.test.logs", "msg": "call failed"})
        sparing.filter(again)

    assert (passed, is_other_passed) == (A_SECOND, True)
    assert vars(again)["left_out"] == 1_000 - A_SECOND


def test_a_flood_hides_no_line_of_another_level_that_says_the_same() -> None:
    sparing = Sparing(FakeClock().monotonic)
    says = {"name": "services.test.logs", "msg": "call failed"}
    with logging_to_stderr("tester", "info"):
        for _ in range(1_000):
            sparing.filter(logging.makeLogRecord({**says, "levelno": logging.INFO}))
        is_passed = sparing.filter(logging.makeLogRecord({**says, "levelno": logging.WARNING}))

    assert is_passed


def test_the_lines_of_a_flood_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("tester", "info"):
        for _ in range(5_000):
            log.info("call failed")
        log.warning("something else")

    said = [line["message"] for line in lines(capsys.readouterr().err)]
    assert len(said) < 1_000
    assert said[-1] == "something else"


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
    with logging_to_stderr("tester", "debug"):
        for n in range(12_000):  # More than are kept: it is the test's time limit that would tell.
            log.info("line", extra={"n": n})
        threading.Timer(0.2, let_go.set).start()  # Stopping has begun by then: it has to wait.

    kept = [line["n"] for line in lines(written.getvalue())]
    assert kept[:100] == list(range(100))
    assert 10_000 <= len(kept) < 12_000
