from dataclasses import replace

import pytest

from services.chassis.errors import InvalidArgument
from services.orchestrator.domain.events import ClientTool, Message, Sampling
from services.orchestrator.domain.request import Texts, check, check_readable, faults, split
from tests.unit.orchestrator.fakes import REQUEST

BAD = {
    "query": [
        {"query": ""},
        {"query": " \n"},
        {"query": "x" * 101},
        {"messages": (Message("assistant", "hi"),), "query": ""},
    ],
    "messages": [
        {"messages": (Message("user", "x"),) * 201},
        {"messages": (Message("user", "x" * 200),)},
    ],
    "messages[0].role": [{"messages": (Message("tool", "x"),)}],
    "tool_choice": [{"tool_choice": "required"}],
    "on_disconnect": [{"on_disconnect": "explode"}],
    "tools": [{"tools": ("a",) * 129}],
    "tools[1]": [{"tools": ("good", "not good")}],
    "model": [{"model": "m" * 257}],
    "sampling.temperature": [
        {"sampling": Sampling(temperature=value)} for value in (-0.1, 2.1, float("nan"))
    ],
    "sampling.top_p": [{"sampling": Sampling(top_p=value)} for value in (0.0, 1.1, float("inf"))],
    "sampling.max_tokens": [{"sampling": Sampling(max_tokens=value)} for value in (0, -1, 10**7)],
    "sampling.seed": [{"sampling": Sampling(seed=-1)}],
    "sampling.stop": [{"sampling": Sampling(stop=("a",) * 9)}],
    "sampling.stop[0]": [
        {"sampling": Sampling(stop=("",))},
        {"sampling": Sampling(stop=("x" * 65,))},
    ],
    "limits.steps": [{"steps": 0}, {"steps": -5}, {"steps": 33}],
    "limits.tokens": [{"tokens": 0}, {"tokens": -1}],
    "timeout_ms": [{"timeout_ms": value} for value in (0.0, -1.0, 300_001.0, float("nan"))],
    "labels": [{"labels": {str(n): "" for n in range(17)}}, {"labels": {"a b": "x"}}],
    "labels.a": [{"labels": {"a": "x" * 257}}],
}


@pytest.mark.parametrize(
    ("field", "change"), [(field, change) for field, changes in BAD.items() for change in changes]
)
def test_a_bad_request_names_the_field_and_the_fix(field: str, change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(replace(REQUEST, **change), max_query_bytes=100)

    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.metadata["field"] == field
    assert caught.value.metadata["suggested_fix"]


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(replace(REQUEST, query="", steps=0), max_query_bytes=100)

    assert [each.field for each in caught.value.violations] == ["query", "limits.steps"]


def test_a_good_request_passes() -> None:
    check(REQUEST, max_query_bytes=100)


def test_the_last_users_turn_is_the_query_when_there_is_none() -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hello"))

    assert split(replace(REQUEST, query="", messages=messages)) == ("Hello", messages[:1])


LARGE = Texts(inline_bytes=50, most_bytes=100_000)


def test_of_texts_that_are_kept_elsewhere_only_the_beginning_counts() -> None:
    long = Message("user", "x" * 90_000)

    check(replace(REQUEST, messages=(long,)), max_query_bytes=20_000, large=LARGE)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("query", {"query": "x" * 100_001}),
        ("messages[1]", {"messages": (Message("user", "x"), Message("user", "x" * 100_001))}),
        ("messages", {"messages": (Message("user", "x" * 90_000), Message("user", "x" * 90_000))}),
    ],
)
def test_what_is_too_long_to_keep_or_to_show_is_refused(
    field: str, change: dict[str, object]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(replace(REQUEST, **change), max_query_bytes=20_000, large=LARGE)

    assert field in [violation.field for violation in caught.value.violations]


def test_without_tools_a_text_that_is_kept_elsewhere_is_refused() -> None:
    messages = (Message("user", "x" * 50), Message("user", "x" * 51))

    with pytest.raises(InvalidArgument) as caught:
        check_readable(replace(REQUEST, messages=messages, tool_choice="none"), LARGE)

    assert [violation.field for violation in caught.value.violations] == ["messages[1]"]
    check_readable(replace(REQUEST, messages=messages), LARGE)


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [("read_result", True), ("agent__x", True), ("agent__", True), ("agents", False)],
)
def test_a_client_tool_has_no_name_of_the_orchestrators_own(name: str, *, is_refused: bool) -> None:
    request = replace(REQUEST, client_tools=(ClientTool(name, "", {}),))
    found = [(violation.field, violation.message) for violation in faults(request)]

    assert found == ([("client_tools[0].name", "is the orchestrator's own")] if is_refused else [])
