from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import FailedPrecondition
from services.orchestrator.domain.events import ClientTool, Message, Sampling
from services.orchestrator.domain.routing import (
    MOST_MODELS,
    Asked,
    Candidate,
    Policy,
    RequestClass,
    Route,
    Rule,
    asked_of,
    chosen,
    class_of,
)
from tests.unit.orchestrator.fakes import REQUEST

CAN = frozenset({"generate", "schema"})
ASKED = Asked(RequestClass.SHORT_ANSWER, 100, 100, frozenset({"generate"}), "session_1")
SMALL = Candidate("small", 1_000, CAN, 0.1, 0.2, "small")
LARGE = Candidate("large", 100_000, CAN, 1.0, 5.0, "large")
WRITER = Candidate("writer", 100_000, CAN, 3.0, 1.0, "large")
FREE = Candidate("free", 8_000, frozenset({"generate"}), 0.0, 0.0, "small")
ALL = (LARGE, SMALL, WRITER, FREE)


def models(rule: Rule, asked: Asked = ASKED, catalogue: Sequence[Candidate] = ALL) -> Sequence[str]:
    return chosen(Route("r", (rule,)), asked, catalogue).models


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, RequestClass.SHORT_ANSWER),
        ({"query": "x" * 4_001}, RequestClass.LONG_REASONING),
        ({"messages": [Message("user", "x" * 4_001)]}, RequestClass.LONG_REASONING),
        ({"sampling": Sampling(max_tokens=513)}, RequestClass.LONG_REASONING),
        ({"sampling": Sampling(max_tokens=512)}, RequestClass.SHORT_ANSWER),
        ({"tools": ["calculator"]}, RequestClass.TOOL_USE),
        ({"tools": ["calculator"], "tool_choice": "none"}, RequestClass.SHORT_ANSWER),
        ({"client_tools": [ClientTool("mine", "", {})]}, RequestClass.TOOL_USE),
        ({"response_schema": {"enum": ["a", "b"]}}, RequestClass.CLASSIFICATION),
        ({"response_schema": {"type": "boolean"}}, RequestClass.CLASSIFICATION),
        ({"response_schema": {"anyOf": [{"const": 1}, {"const": 2}]}}, RequestClass.CLASSIFICATION),
        (
            {"response_schema": {"type": "object", "properties": {"label": {"enum": ["a"]}}}},
            RequestClass.CLASSIFICATION,
        ),
        (
            {"response_schema": {"type": "object", "properties": {"text": {"type": "string"}}}},
            RequestClass.SHORT_ANSWER,
        ),
        ({"response_schema": {"type": "object", "properties": {}}}, RequestClass.SHORT_ANSWER),
        ({"request_class": "long_reasoning"}, RequestClass.LONG_REASONING),
        (
            {"request_class": "short_answer", "response_schema": {"type": "boolean"}},
            RequestClass.SHORT_ANSWER,
        ),
    ],
)
def test_a_request_is_of_the_kind_that_it_says_or_looks_like(
    changes: Mapping[str, Any], found: RequestClass
) -> None:
    assert class_of(replace(REQUEST, **changes)) is found


@pytest.mark.parametrize(
    ("rule", "asked", "expected"),
    [
        (Rule(Policy.CHEAPEST), {}, ("free", "small", "writer", "large")),
        (Rule(Policy.CHEAPEST), {"prompt_tokens": 500}, ("free", "small", "large", "writer")),
        (Rule(Policy.CHEAPEST), {"prompt_tokens": 950}, ("free", "large", "writer")),
        (Rule(Policy.CHEAPEST), {"prompt_tokens": 9_000}, ("large", "writer")),
        (Rule(Policy.CHEAPEST), {"prompt_tokens": 900, "output_tokens": 100_000}, ("large",)),
        (Rule(Policy.CHEAPEST), {"needs": CAN}, ("small", "writer", "large")),
        (Rule(Policy.CHEAPEST, sizes=frozenset({"large"})), {}, ("writer", "large")),
        (Rule(Policy.CHEAPEST, ("large", "gone", "small")), {}, ("small", "large")),
        (Rule(Policy.CHEAPEST, ("small",), fallback=("large", "small")), {}, ("small", "large")),
        (Rule(Policy.PINNED, ("large", "small")), {}, ("large", "small")),
        (Rule(Policy.PINNED, ("gone", "small")), {}, ("small",)),
        (Rule(Policy.PINNED, ("free",), fallback=("small",)), {"needs": CAN}, ("small",)),
        (Rule(Policy.PINNED, ("gone",), fallback=("small", "lost")), {}, ("small",)),
    ],
)
def test_a_rule_puts_the_models_that_can_do_it_in_its_order(
    rule: Rule, asked: Mapping[str, Any], expected: Sequence[str]
) -> None:
    assert models(rule, replace(ASKED, **asked)) == expected


def test_the_fastest_is_the_one_that_was_seen_to_take_least_and_unseen_ones_get_a_try() -> None:
    seen = [replace(LARGE, seconds=0.5), replace(SMALL, seconds=0.2), WRITER]

    found = chosen(Route("r", (Rule(Policy.FASTEST),)), ASKED, seen)

    assert found.models == ("writer", "small", "large")
    assert models(Rule(Policy.FASTEST), catalogue=seen[:2]) == ("small", "large")


def test_models_that_failed_a_moment_ago_come_last() -> None:
    ill = [replace(SMALL, is_ailing=True), LARGE, replace(WRITER, is_ailing=True)]

    found = chosen(Route("r", (Rule(Policy.CHEAPEST, fallback=("free",)),)), ASKED, ill)

    assert found.models == ("large", "small", "writer")
    assert "small failed a moment ago" in found.reason


def test_where_all_failed_a_moment_ago_the_order_stays() -> None:
    ill = [replace(each, is_ailing=True) for each in (SMALL, LARGE)]

    assert models(Rule(Policy.PINNED, ("large", "small")), catalogue=ill) == ("large", "small")


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        (Rule(Policy.CANARY, ("small", "large"), percent=5), {"small": 0.95, "large": 0.05}),
        (
            Rule(Policy.WEIGHTED, ("small", "large", "writer"), (6.0, 3.0, 1.0)),
            {"small": 0.6, "large": 0.3, "writer": 0.1},
        ),
        (Rule(Policy.WEIGHTED, ("small", "large"), (1.0, 0.0)), {"small": 1.0}),
    ],
)
def test_shares_are_kept_over_many_sessions(rule: Rule, shares: Mapping[str, float]) -> None:
    keys = [f"session_{n}" for n in range(4_000)]

    firsts = [models(rule, replace(ASKED, key=key))[0] for key in keys]

    found = {name: firsts.count(name) / len(keys) for name in set(firsts)}
    assert found == pytest.approx(shares, abs=0.02)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(Policy.CANARY, ("small", "large"), percent=50),
        Rule(Policy.WEIGHTED, ("small", "large"), (1.0, 1.0)),
    ],
)
def test_a_session_keeps_what_it_got(rule: Rule) -> None:
    keys = [f"session_{n}" for n in range(100)]

    first, second = ([models(rule, replace(ASKED, key=key)) for key in keys] for _ in range(2))

    assert first == second
    assert {each[0] for each in first} == {"small", "large"}
    assert {frozenset(each) for each in first} == {frozenset({"small", "large"})}


def test_more_canaries_take_sessions_from_the_usual_model_alone() -> None:
    keys = [f"session_{n}" for n in range(500)]

    few, many = (
        {
            key
            for key in keys
            if models(
                Rule(Policy.CANARY, ("small", "large"), percent=percent), replace(ASKED, key=key)
            )[0]
            == "large"
        }
        for percent in (10, 30)
    )

    assert few < many


def test_a_canary_that_is_not_there_leaves_its_sessions_to_the_usual_model() -> None:
    rule = Rule(Policy.CANARY, ("small", "gone"), percent=100)

    found = chosen(Route("r", (rule,)), ASKED, ALL)

    assert found.models == ("small",)
    assert found.reason == "gone is not there, or cannot do it"


def test_the_first_rule_for_the_class_of_the_request_counts() -> None:
    own = frozenset({RequestClass.CLASSIFICATION, RequestClass.SHORT_ANSWER})
    rules = (
        Rule(Policy.PINNED, ("small",), classes=own, priority="batch", hedge_after_ms=300),
        Rule(Policy.PINNED, ("large",), patience_ms=900),
    )
    long = replace(ASKED, request_class=RequestClass.LONG_REASONING)

    short, other = (chosen(Route("r", rules), each, ALL) for each in (ASKED, long))

    assert (short.models, short.priority, short.hedge_after_ms) == (("small",), "batch", 300)
    assert (other.models, other.patience_ms, other.request_class) == (
        ("large",),
        900,
        "long_reasoning",
    )


def test_a_task_has_no_more_than_so_many_models() -> None:
    many = [replace(SMALL, name=f"m{n}") for n in range(20)]

    assert len(models(Rule(Policy.CHEAPEST), catalogue=many)) == MOST_MODELS


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        (Rule(Policy.PINNED, ("gone",)), {}),
        (Rule(Policy.PINNED, ("free",)), {"needs": CAN}),
        (Rule(Policy.CHEAPEST, sizes=frozenset({"huge"})), {}),
    ],
)
def test_a_route_without_a_model_that_can_do_it_says_so(
    rule: Rule, asked: Mapping[str, Any]
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        models(rule, replace(ASKED, **asked))

    assert caught.value.reason == "ROUTE_HAS_NO_MODEL"
    assert caught.value.metadata["route"] == "r"


def test_what_a_request_needs_is_about_its_size() -> None:
    request = replace(REQUEST, query="x" * 300, sampling=Sampling(max_tokens=50))

    asked = asked_of(request, "session_1", has_tools=False)

    assert (asked.prompt_tokens, asked.output_tokens, asked.needs) == (100, 50, {"generate"})


@pytest.mark.parametrize(
    ("has_tools", "schema"), [(True, None), (False, {"type": "string"}), (True, {"type": "string"})]
)
def test_tools_and_schemas_need_a_model_that_a_schema_binds(
    has_tools: bool, schema: Mapping[str, object] | None
) -> None:
    request = replace(REQUEST, response_schema=schema)

    assert asked_of(request, "", has_tools=has_tools).needs == CAN


@pytest.mark.parametrize(
    "rule",
    [
        Rule(Policy.PINNED, ("usual", "small"), fallback=("large",)),
        Rule(Policy.CANARY, ("usual", "small"), percent=1e-9),
        Rule(Policy.WEIGHTED, ("usual", "small"), (1.0, 0.0)),
    ],
)
def test_a_rule_may_name_a_model_by_an_alias(rule: Rule) -> None:
    found = chosen(Route("r", (rule,)), ASKED, ALL, {"usual": LARGE})

    assert found.models == ("large", "small")
