"""What a task waits for, as the terminal shows it."""

import json
import shlex

import pytest

from services.cli import asking
from services.cli.render import Event, Renderer

URL = "http://edge"
IDS = {"task_id": "task_1", "tool_call_id": "call_1", "tool_name": "mine__remove"}
SCHEMA = {
    "type": "object",
    "properties": {
        "copies": {"type": "integer", "minimum": 2},
        "note": {"type": "string"},
        "sure": {"type": "boolean", "description": "Really?"},
        "which": {"type": "string", "enum": ["it's", "all"]},
    },
    "required": ["sure", "which", "copies"],
}


def asks(**params: object) -> Event:
    """A tool that asks."""
    request = {"method": "elicitation/create", "params": {"message": "Remove /x?", **params}}
    return {"type": "input_required", **IDS, "input_requests": {"go": request}}


def shown(capsys: pytest.CaptureFixture[str], *events: Event, **options: object) -> list[str]:
    """The lines of these events."""
    renderer = Renderer(URL, **options)  # type: ignore[arg-type]
    for event in events:
        renderer.show(event)
    return capsys.readouterr().out.splitlines()


def body(line: str) -> object:
    """What a shell sends that is given the command behind the colon."""
    words = shlex.split(line.partition(": ")[2])
    assert words[:2] == ["curl", "-s"]
    assert words[3] == "--json"
    return json.loads(words[4])


def test_a_tool_that_asks_is_shown_with_its_fields_those_first_that_it_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, asks(requestedSchema=SCHEMA))

    assert lines[:5] == [
        "? mine__remove asks: Remove /x?",
        "    copies (integer from 2)",
        "    sure (boolean) Really?",
        "    which (it's|all)",
        "    note (string, optional)",
    ]


def test_the_command_that_answers_fits_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    answer, decline = shown(capsys, asks(requestedSchema=SCHEMA))[-2:]

    content = {"copies": 2, "sure": True, "which": "it's"}
    given = {"go": {"action": "accept", "content": content}}
    assert answer.startswith("  answer: curl -s http://edge/v1/tasks/task_1:submit ")
    assert body(answer) == {"tool_call_id": "call_1", "input_responses": given}
    assert decline.startswith("  decline: curl -s http://edge/v1/tasks/task_1:deny ")
    assert body(decline) == {"tool_call_id": "call_1"}


def test_a_page_to_visit_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, asks(mode="url", url="https://pay.example"))

    assert lines[0] == "? mine__remove asks: Remove /x? https://pay.example"
    assert body(lines[1]) == {
        "tool_call_id": "call_1",
        "input_responses": {"go": {"action": "accept"}},
    }


def test_a_tool_of_the_client_is_shown_with_where_its_result_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, {"type": "input_required", **IDS})

    assert lines[0] == "? mine__remove is yours to run"
    assert body(lines[1]) == {"tool_call_id": "call_1", "output": "…"}
    assert body(lines[2]) == {"tool_call_id": "call_1", "error": "…"}


def test_an_approval_is_shown_with_what_grants_and_denies_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, {"type": "approval_required", **IDS})

    assert lines == [
        "? may mine__remove be called?",
        '  yes: curl -s http://edge/v1/tasks/task_1:approve --json \'{"tool_call_id": "call_1"}\'',
        '  no: curl -s http://edge/v1/tasks/task_1:deny --json \'{"tool_call_id": "call_1"}\'',
    ]


def test_who_is_asked_in_the_terminal_is_shown_no_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, {"type": "approval_required", **IDS}, prompts=True)

    assert lines == ["? may mine__remove be called?"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"all": {"type": "array", "items": {"type": "string"}}}},
        {"properties": {"one": {"oneOf": [{"const": "a"}]}}},
        {"properties": {"one": {"enum": [1, 2]}}},
        None,
    ],
)
def test_what_no_prompt_can_ask_is_shown_with_its_command(
    capsys: pytest.CaptureFixture[str], schema: object
) -> None:
    lines = shown(capsys, asks(requestedSchema=schema), prompts=True)

    assert lines[-1].startswith("  decline: ")


def test_decisions_and_answers_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    decided = {"type": "approval_decided", **IDS, "approved": False, "comment": "not now"}
    part = {"type": "input_received", **IDS, "author": "ada"}
    given = {"type": "input_given", **IDS, "author": "ada"}

    assert shown(capsys, decided, part, given) == [
        "  mine__remove: denied: not now",
        "  mine__remove: answered in part by ada",
        "  mine__remove: answered by ada",
    ]


def test_warnings_of_a_tool_are_shown_and_chatter_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs = ({"type": "tool_log", **IDS, "level": each, "message": each} for each in LEVELS)

    assert shown(capsys, *logs) == [
        "  mine__remove warning: warning",
        "  mine__remove alert: alert",
    ]


LEVELS = ("debug", "info", "notice", "warning", "alert")


def test_progress_is_one_line_a_second_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([0.0, 0.0, 0.5, 1.0, 1.0])
    events = ({"type": "tool_progress", **IDS, "progress": n, "total": 4} for n in (1, 2, 3))

    lines = shown(capsys, *events, is_tty=False, now=lambda: next(times))

    assert lines == ["  mine__remove 25%", "  mine__remove 75%"]


def test_progress_is_one_line_that_changes_where_a_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    renderer = Renderer(is_tty=True)
    for done in (1, 2):
        renderer.show({"type": "tool_progress", **IDS, "progress": done, "message": "a\nb"})
    renderer.show({"type": "final_answer", "answer": "done"})

    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.endswith("done\n")
    assert "1 a b" in out


@pytest.mark.parametrize("kind", ["approval_required", "input_required", "tool_progress"])
@pytest.mark.parametrize("requests", [{}, {"a": 5}, {"a": {"params": {"requestedSchema": 5}}}])
def test_shapes_that_are_not_known_do_no_harm(
    capsys: pytest.CaptureFixture[str], kind: str, requests: object
) -> None:
    assert shown(capsys, {"type": kind, "input_requests": requests}, is_tty=False, prompts=True)


def test_what_is_asked_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, asks(message="\x1b[2Jhello"))

    assert lines[0] == "? mine__remove asks: [2Jhello"


def test_a_child_that_waits_is_shown_with_what_it_waits_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = {"type": asking.CHILD, **IDS, "child_task_id": "task_2", "status": "waiting"}

    assert shown(capsys, {**event, "wants": "approval"}, {**event, "status": "running"}) == [
        "  mine__remove as task_2 is waiting for approval",
        "  mine__remove as task_2 is running",
    ]


def test_what_a_task_waits_for_is_asked_as_its_events_ask_it() -> None:
    call = {"tool_call_id": "call_1", "tool_name": "mine__remove"}
    pending = [
        {**call, "wants": "approval", "input": {}},
        {**call, "wants": "input", "input_requests": {"go": {}}},
        {**call, "wants": "child", "child_task_id": "task_2"},
    ]

    found = list(asking.questions({"task_id": "task_1", "pending_requests": pending}))

    kinds = ["approval_required", "input_required", "child_status_changed"]
    assert [each["type"] for each in found] == kinds
    assert {each["task_id"] for each in found} == {"task_1"}
    assert list(asking.questions({})) == []
