"""What of MCP at the edge is decided without a service."""

import contextvars
import subprocess
import sys
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from gateway.mcp import details, offers, patience, questions, refusals, results
from gateway.mcp.cursors import Cursors
from gateway.mcp.refusals import Refused
from services.chassis.context import current, local_context, resumed
from services.chassis.errors import Unavailable

Wire = dict[str, Any]
KEY = b"k" * 32


def test_an_edge_that_nobody_asks_for_mcp_does_not_load_it() -> None:
    code = "import gateway.app, sys; print([m for m in sys.modules if m.startswith('mcp')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("http", "code"),
    [(400, -32602), (404, -32602), (409, -32602), (403, -32603), (429, -32603), (503, -32603)],
)
def test_faults_of_what_was_asked_are_invalid_parameters(http: int, code: int) -> None:
    assert refusals.code_of(http) == code


def place(cursor: str | None, of: str = "default") -> str:
    """Where a tenant's list of tools goes on."""
    return tenant(of).run(Cursors(KEY, "tools/list").opened, cursor)


def sealed(what: str = "tools/list") -> str:
    """A cursor of the default tenant's."""
    return tenant("default").run(Cursors(KEY, what).sealed, "weather")


def tenant(name: str) -> contextvars.Context:
    """Who asks."""
    who = contextvars.copy_context()
    who.run(current.set, resumed(name, "somebody", ""))
    return who


def test_a_cursor_is_where_it_was_made() -> None:
    assert (place(sealed()), place(None)) == ("weather", "")


@pytest.mark.parametrize(
    "cursor", ["!", "e30", "a" * 5_000, pytest.param(sealed("resources/list"), id="other list")]
)
def test_what_is_no_cursor_of_a_list_is_refused(cursor: str) -> None:
    with pytest.raises(MCPError):
        place(cursor)


def test_a_cursor_is_its_tenant_s() -> None:
    with pytest.raises(MCPError):
        place(sealed(), of="other")


def test_a_schema_of_input_is_one_of_an_object_whatever_it_says() -> None:
    (offer,) = offers.of_tools([{"name": "a", "input_schema": {"properties": {}}}])

    assert offer.wire["inputSchema"] == {"properties": {}, "type": "object"}


def test_a_tool_says_how_long_its_calls_may_take() -> None:
    slow, plain = offers.of_tools(
        [{"name": "slow", "timeout_ms": 90_000.0}, {"name": "plain", "timeout_ms": 0.0}]
    )

    assert (slow.seconds, plain.seconds) == (90.0, 30.0)


def test_tools_whose_arguments_stand_in_headers_are_known() -> None:
    schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    marked, plain = offers.of_tools(
        [{"name": "a", "input_schema": schema}, {"name": "b", "input_schema": {}}]
    )

    assert (marked.has_headers, plain.has_headers) == (True, False)


@pytest.mark.parametrize(
    ("value", "is_modern", "has_schema", "structured"),
    [
        ({"n": 1}, False, False, {"n": 1}),
        ({"n": 1}, True, False, {"n": 1}),
        ([1], True, False, [1]),
        ([1], False, False, None),
        ("text", True, False, None),
        ("text", True, True, "text"),
        ("text", False, True, None),
        (None, True, True, None),
    ],
)
def test_json_is_shown_where_the_version_takes_it(
    value: Any, is_modern: bool, has_schema: bool, structured: Any
) -> None:
    shown = results.success(value, [], {}, is_modern=is_modern, has_schema=has_schema)

    assert shown.get("structuredContent") == structured
    assert shown["content"][0]["type"] == "text"


@pytest.mark.parametrize(
    "value",
    [
        {"content": [{"type": "text"}], "more": 1},
        {"content": "text"},
        {"content": [{"type": "row"}]},
        {"content": [1]},
        [{"type": "text"}],
        "text",
    ],
)
def test_what_only_looks_like_content_blocks_is_a_value(value: Any) -> None:
    assert results.blocks_of(value) == []


@pytest.mark.parametrize(
    ("content", "is_plain"),
    [
        (results.text({"a": 1}), True),
        ([{"type": "text", "text": 1}], False),
        ([{"type": "text", "text": "a", "annotations": 1}], False),
        ([{"type": "image", "data": "aGk="}], False),
        ([*results.text("a"), *results.text("b")], False),
    ],
)
def test_what_a_tool_brought_is_not_plain(content: list[Wire], is_plain: bool) -> None:
    assert results.is_plain(results.complete(content=content)) is is_plain


WANTED = {"who": {"method": "elicitation/create", "params": {}}}


def task(*pending: Wire) -> Wire:
    """A task whose calls wait for these."""
    requests = [
        {"tool_call_id": f"call_{number}", "tool_name": "weather", "wants": "input", **each}
        for number, each in enumerate(pending, 1)
    ]
    return {"task_id": "task_1", "status": "waiting", "pending_requests": requests}


def test_a_client_is_asked_for_answers_and_leave_and_not_for_results_of_tools() -> None:
    found = questions.outstanding(
        task(
            {"input_requests": WANTED, "round": 2},
            {"wants": "approval", "input": {"city": "Oslo"}},
            {"input": {"at": 7}},
        )
    )

    keys = [key for request in found for key in request.wire]
    assert keys == ["call_1.2.who", "call_2.0.approval"]
    assert '{"city": "Oslo"}' in found[1].wire["call_2.0.approval"]["params"]["message"]


def test_no_two_questions_of_a_task_have_the_same_key() -> None:
    rounds = [task({"input_requests": WANTED, "round": number}) for number in (1, 2)]

    keys = {key for one in rounds for key in questions.outstanding(one)[0].wire}

    assert len(keys) == 2


def test_a_task_that_waits_for_somebody_else_is_working() -> None:
    waiting = [task({"input_requests": WANTED, "round": 1}), task({"input": {}}), task()]

    statuses = [details.status_of(each) for each in waiting]

    assert statuses == ["input_required", "working", "working"]


@pytest.mark.parametrize(
    ("response", "decision"),
    [
        ({"action": "accept", "content": {"approved": True}}, (True, "")),
        ({"action": "accept", "content": {"approved": "yes"}}, (False, "")),
        ({"action": "accept"}, (False, "")),
        ({"action": "accept", "content": {"approved": False, "comment": "no"}}, (False, "no")),
        ({"action": "cancel"}, (False, "")),
        ({}, (False, "")),
    ],
)
def test_only_a_plain_yes_is_leave_to_call_a_tool(
    response: Wire, decision: tuple[bool, str]
) -> None:
    (request,) = questions.outstanding(task({"wants": "approval"}))

    assert request.decision({"approval": response}) == decision


def refused(reason: str) -> Refused:
    return refusals.from_error(Unavailable(reason, "not now"), local_context())


@pytest.mark.parametrize(
    ("reason", "calls"), [(patience.AWAY, 3), ("EDGE_STOPPING", 1)], ids=["away", "stopping"]
)
async def test_a_call_is_made_again_only_where_its_service_is_away(
    monkeypatch: pytest.MonkeyPatch, reason: str, calls: int
) -> None:
    monkeypatch.setattr(patience, "_PAUSES", (0.0, 0.0))
    made: list[str] = []

    async def call() -> None:
        made.append(reason)
        raise refused(reason)

    with pytest.raises(Refused):
        await patience.patiently(call)

    assert len(made) == calls
