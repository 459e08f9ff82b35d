"""A task's events as a person reads them."""

import pytest

from services.cli.render import Event, Renderer

CALL = {"type": "tool_call", "tool_name": "calculator", "input": {"expression": "12·7"}}
COMPLETE = {
    "type": "task_complete",
    "task_id": "task_1",
    "status": "completed",
    "metrics": {"total_duration_ms": 1234.0, "tokens_used": 56},
}


def shown(capsys: pytest.CaptureFixture[str], *events: Event) -> list[str]:
    """The lines of these events."""
    renderer = Renderer()
    for event in events:
        renderer.show(event)
    return capsys.readouterr().out.splitlines()


def error(**fields: str) -> dict[str, object]:
    """What failed."""
    return {"error": {"message": "too large", **fields}}


def test_a_call_is_shown_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, CALL) == ['→ calculator {"expression": "12·7"}']


def test_a_call_of_an_agent_is_shown_with_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    call = {"type": "tool_call", "tool_name": "agent__hand", "input": {"query": "Hi"}}
    child = {"type": "child_task", "child_task_id": "task_2"}

    assert shown(capsys, call, child) == ['→ agent__hand {"query": "Hi"}', "  as task_2"]


def test_a_result_is_shown_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    result = {
        "type": "tool_result",
        "tool_name": "calculator",
        "status": "success",
        "output": {"value": 84},
        "latency_ms": 0.4,
    }

    assert shown(capsys, result) == ['← calculator {"value": 84} (0.4 ms)']


def test_a_result_too_large_for_the_log_is_shown_by_its_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reference = {"sha256": "ab" * 32, "size_bytes": 100_000}
    result = {
        "type": "tool_result",
        "tool_name": "lookup",
        "status": "success",
        "reference": reference,
        "latency_ms": 3,
    }

    assert shown(capsys, result) == [f"← lookup 100000 bytes, object {'ab' * 32} (3 ms)"]


def test_a_failed_call_is_shown_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    result = {
        "type": "tool_result",
        "tool_name": "calculator",
        "status": "error",
        "latency_ms": 1,
        **error(suggested_fix="send less"),
    }

    assert shown(capsys, result) == ["✗ calculator: too large (send less) (1 ms)"]


def test_deltas_make_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    deltas = ({"type": "message_delta", "text": text} for text in ("12 * 7 ", "is ", "84."))

    lines = shown(capsys, *deltas, {"type": "final_answer", "answer": "12 * 7 is 84."})

    assert lines == ["12 * 7 is 84."]


def test_an_answer_without_deltas_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, {"type": "final_answer", "answer": "84"}) == ["84"]


def test_an_abandoned_attempt_withdraws_what_it_said(capsys: pytest.CaptureFixture[str]) -> None:
    delta = {"type": "message_delta", "text": "half a sent"}
    abandoned = {"type": "step_abandoned", "attempt": 1, **error()}

    lines = shown(capsys, delta, abandoned)

    assert lines == [
        "half a sent",
        "✗ attempt 1 failed: too large; what it said so far is withdrawn",
    ]


def test_an_attempt_that_said_nothing_withdraws_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, {"type": "step_abandoned", "attempt": 2, **error()})

    assert lines == ["✗ attempt 2 failed: too large"]


def test_the_end_says_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, COMPLETE) == ["completed in 1.23 s, 56 tokens, task_1"]


def test_the_end_says_what_came_from_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"total_duration_ms": 1.0, "tokens_used": 0, "tokens_saved": 56}

    (line,) = shown(capsys, {**COMPLETE, "metrics": metrics})

    assert "0 tokens (56 more from the cache)" in line


def test_a_failure_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {**COMPLETE, "status": "failed", **error()}

    assert shown(capsys, failed)[0] == "failed: too large"


def test_a_warning_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    warning = {"type": "warning", "warning": {"code": "CUT", "message": "cut to 5"}}

    assert shown(capsys, warning) == ["! cut to 5"]


def test_the_status_is_known_at_the_end() -> None:
    renderer = Renderer()
    before = renderer.status
    renderer.show(COMPLETE)

    assert (before, renderer.status) == ("", "completed")


@pytest.mark.parametrize("event", [{}, {"type": "from_the_future"}, {"type": "task_start"}])
def test_what_is_not_known_is_passed_over(capsys: pytest.CaptureFixture[str], event: Event) -> None:
    assert shown(capsys, event) == []


def test_fields_that_are_missing_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ["agent_thought", "tool_call", "tool_result", "final_answer", "step_abandoned"]

    assert shown(capsys, *({"type": kind} for kind in [*kinds, "warning", "task_complete"]))
