"""What a request may change of what its agent says."""

from dataclasses import replace
from typing import Any, Final

import pytest

from services.chassis.errors import InvalidArgument
from services.orchestrator.domain.agent import Agent, Limits
from services.orchestrator.domain.events import Sampling
from services.orchestrator.domain.narrowing import narrowed
from tests.unit.orchestrator.fakes import NOW, REQUEST

SCHEMA: Final = {"type": "object"}
OTHER: Final = {"type": "string"}
PLAIN: Final = Agent("plain", 1, "local", NOW, NOW, Sampling(), {})
STRICT: Final = replace(
    PLAIN,
    agent_id="strict",
    version=7,
    model="fake",
    tools=("look", "agent__friend"),
    limits=Limits(4, 100, 1000.0),
    response_schema=SCHEMA,
    sampling=Sampling(temperature=0.5, max_tokens=50, stop=("END",), seed=1),
)
MUTE: Final = replace(PLAIN, agent_id="mute", tool_choice="none")


def test_what_a_request_leaves_open_is_the_agents() -> None:
    found = narrowed(REQUEST, STRICT)

    assert (found.model, found.tools, found.response_schema) == ("fake", STRICT.tools, SCHEMA)
    assert (found.steps, found.tokens, found.duration_ms) == (4, 100, 1000.0)
    assert found.sampling == STRICT.sampling
    assert found.agent_version == 7


def test_an_agent_that_says_nothing_leaves_the_request_as_it_is() -> None:
    request = replace(
        REQUEST, model="fake", tools=("look",), steps=32, tokens=5, response_schema=SCHEMA
    )

    assert narrowed(request, PLAIN) == replace(request, agent_version=1)


def test_a_request_may_ask_for_less() -> None:
    request = replace(
        REQUEST,
        model="fake",
        tools=("look",),
        steps=2,
        tokens=10,
        duration_ms=10.0,
        response_schema=SCHEMA,
        sampling=Sampling(temperature=2, max_tokens=5),
    )

    found = narrowed(request, STRICT)

    assert (found.tools, found.steps, found.tokens, found.duration_ms) == (("look",), 2, 10, 10.0)
    assert found.sampling == Sampling(temperature=2, max_tokens=5, stop=("END",), seed=1)


def test_an_agent_without_tools_gets_none() -> None:
    assert narrowed(REQUEST, MUTE).tool_choice == "none"


@pytest.mark.parametrize(
    ("agent", "changes", "reason", "field"),
    [
        (STRICT, {"tools": ("look", "leap")}, "TOOL_NOT_ALLOWED", "tools[1]"),
        (PLAIN, {"tools": ("agent__friend",)}, "TOOL_NOT_ALLOWED", "tools[0]"),
        (MUTE, {"tools": ("look",)}, "TOOL_NOT_ALLOWED", "tools[0]"),
        (MUTE, {"tool_choice": "auto"}, "TOOL_NOT_ALLOWED", "tool_choice"),
        (STRICT, {"model": "other"}, "INVALID_REQUEST", "model"),
        (STRICT, {"response_schema": OTHER}, "INVALID_REQUEST", "response_schema"),
        (STRICT, {"steps": 5}, "INVALID_REQUEST", "limits.steps"),
        (STRICT, {"tokens": 101}, "INVALID_REQUEST", "limits.tokens"),
        (STRICT, {"duration_ms": 1001.0}, "INVALID_REQUEST", "limits.duration_ms"),
        (STRICT, {"sampling": Sampling(max_tokens=51)}, "INVALID_REQUEST", "sampling.max_tokens"),
    ],
)
def test_a_request_may_not_ask_for_more(
    agent: Agent, changes: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        narrowed(replace(REQUEST, **changes), agent)

    assert (caught.value.reason, caught.value.metadata["field"]) == (reason, field)


@pytest.mark.parametrize(("number", "expected"), [(64, 128), (65, 1)])
def test_more_approvals_than_a_request_may_name_are_asked_for_every_tool(
    number: int, expected: int
) -> None:
    agent = replace(PLAIN, approval_tools=[f"mine{each}" for each in range(number)])
    request = replace(REQUEST, approval_tools=[f"yours{each}" for each in range(number)])
    found = narrowed(request, agent).approval_tools

    assert len(found) == expected
    assert (found == ("*",)) == (expected == 1)
