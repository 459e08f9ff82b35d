"""Tools as requests and agents name them, and as an agent gets them that names none."""

from dataclasses import replace

import pytest

from services.chassis.errors import InvalidArgument
from services.orchestrator.domain.catalogue import MOST_OFFERED, catalogue
from services.orchestrator.domain.events import Pinned
from services.orchestrator.domain.named import Named, faults, named, narrowed
from services.orchestrator.domain.narrowing import narrowed as narrowed_request
from services.orchestrator.domain.tool import Tool
from tests.unit.orchestrator.fakes import REQUEST, tool
from tests.unit.orchestrator.test_orchestrator_narrowing import PLAIN


@pytest.mark.parametrize(
    "text", ["look", "look@1.0.0", "look@^1.2", "look@>=1.2 <3 || 5.x", "look@>= 1.2"]
)
def test_a_name_may_have_a_version_or_a_range(text: str) -> None:
    assert not [*faults("tools", [text])]
    assert str(named(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "look@",
        "look@ ",
        "look@1/2",
        "look@>",
        "look@latest",
        f"look@{'1' * 65}",
        "@1",
        "agent__x@1",
    ],
)
def test_what_names_no_tool_is_said_where_it_stands(text: str) -> None:
    assert [fault.field for fault in faults("tools", ["look", text])] == ["tools[1]"]


def test_a_tool_is_named_in_one_version() -> None:
    assert [fault.field for fault in faults("tools", ["look@1", "leap", "look@2"])] == ["tools[2]"]
    assert not [*faults("tools", ["look@1", "look@1"])]


@pytest.mark.parametrize(
    ("asked", "allowed", "found"),
    [
        ("", "", ""),
        ("", "^1", "^1"),
        ("^1", "^1", "^1"),
        ("1.5.0", "^1", "1.5.0"),
        ("2.0.0", "^1", None),
        ("1.5.0", ">= 1.2 <3", "1.5.0"),
        ("=1.5.0", "^ 1.2", "=1.5.0"),
        ("3.0.0", ">= 1.2 <3", None),
        ("^1.5", "^1", None),
        ("^1", "", "^1"),
    ],
)
def test_a_version_is_narrowed_and_not_widened(asked: str, allowed: str, found: str | None) -> None:
    expected = None if found is None else Named("look", found)

    assert narrowed(Named("look", asked), Named("look", allowed)) == expected


def test_a_request_gets_its_agents_range_where_it_says_none() -> None:
    agent = replace(PLAIN, tools=("look@^1", "leap"))

    found = narrowed_request(replace(REQUEST, tools=("leap@^2", "look")), agent)

    assert found.tools == ("leap@^2", "look@^1")


def test_a_request_cannot_have_another_version_than_its_agent() -> None:
    agent = replace(PLAIN, tools=("look@^1",))

    with pytest.raises(InvalidArgument) as caught:
        narrowed_request(replace(REQUEST, tools=("look@2.0.0",)), agent)

    assert (caught.value.reason, caught.value.violations[0].field) == (
        "TOOL_NOT_ALLOWED",
        "tools[0]",
    )


def some(count: int) -> list[Tool]:
    return [tool(f"tool_{number}") for number in range(count)]


def test_deprecated_tools_are_not_offered() -> None:
    found = catalogue([tool("look"), replace(tool("old"), is_deprecated=True)])

    assert found.names == ["look"]
    assert set(found.offered) == {"look"}
    assert found.pinned == Pinned((("look", "1.0.0"),))


def test_as_many_tools_are_offered_as_a_model_can_choose_from() -> None:
    found = catalogue(some(MOST_OFFERED))

    assert (len(found.offered), found.pinned.left_out) == (MOST_OFFERED, 0)


def test_of_more_tools_the_built_in_ones_are_offered() -> None:
    builtin = replace(tool("look"), is_builtin=True)

    found = catalogue([builtin, *some(MOST_OFFERED)])

    assert found.offered == {"look": builtin}
    assert (found.pinned.versions, found.pinned.left_out) == ((("look", "1.0.0"),), MOST_OFFERED)
