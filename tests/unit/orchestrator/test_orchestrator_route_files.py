from pathlib import Path

import pytest

from services.chassis.documents.places import MAX_BYTES
from services.chassis.errors import FailedPrecondition
from services.orchestrator.adapters.routes import read, routes_of
from services.orchestrator.domain.routing import Policy, RequestClass, Rule

FILE = Path("routes.yaml")
GOOD = """\
routes:
  - name: default
    rules:
      - classes: [classification, short_answer]
        policy: cheapest
        sizes: [small]
        fallback: [large]
        hedge_after: 300ms
        priority: batch
      - policy: pinned
        models: [large, hosted/large:2]
        patience: 20s
  - name: trial
    rules:
      - {policy: canary, models: [large, next], percent: 5}
  - name: mix
    rules:
      - policy: weighted
        models: [{model: a, weight: 3}, b]
"""


def faults(source: str) -> str:
    """What is said of a file."""
    with pytest.raises(FailedPrecondition) as caught:
        read(source.encode(), FILE)
    assert caught.value.reason == "ROUTES_INVALID"
    return caught.value.message


def rule(text: str) -> str:
    return f"routes:\n- name: r\n  rules:\n  - {{{text}}}\n"


def test_a_file_has_routes_by_name() -> None:
    found = read(GOOD.encode(), FILE)

    assert list(found) == ["default", "trial", "mix"]
    assert found["default"].rules == (
        Rule(
            Policy.CHEAPEST,
            classes=frozenset({RequestClass.CLASSIFICATION, RequestClass.SHORT_ANSWER}),
            sizes=frozenset({"small"}),
            fallback=("large",),
            priority="batch",
            hedge_after_ms=300,
        ),
        Rule(Policy.PINNED, ("large", "hosted/large:2"), (1.0, 1.0), patience_ms=20_000),
    )
    assert found["trial"].rules[0].percent == 5
    assert found["mix"].rules[0].weights == (3.0, 1.0)


def test_without_a_file_there_are_no_routes() -> None:
    assert routes_of(None) == {}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        routes_of(tmp_path / "routes.yaml")

    assert caught.value.metadata["path"].endswith("routes.yaml")


def test_all_faults_are_told_at_once_with_their_places() -> None:
    said = faults(GOOD.replace("cheapest", "best").replace("percent: 5", "percent: 500"))

    assert said.split("\n  ")[1:] == [
        "routes.yaml:5:17: routes[0].rules[0].policy is 'best' "
        "(use cheapest, fastest, pinned, weighted or canary)",
        "routes.yaml:15:58: routes[1].rules[0].percent is 500 "
        "(use a number that is less than or equal to 100)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy: pinned", "pinned needs models"),
        ("policy: pinned, models: [a, a]", "models has one twice"),
        ("policy: weighted", "weighted needs models"),
        ("policy: weighted, models: [{model: a, weight: 0}]", "a weight above 0"),
        ("policy: pinned, models: [{model: a, weight: 2}]", "weights are for weighted"),
        ("policy: canary, models: [a], percent: 5", "canary needs two models"),
        ("policy: canary, models: [a, b]", "the percent of the second"),
        ("policy: cheapest, percent: 5", "percent is for canary"),
        ("policy: cheapest, hedge_after: 0s", "have to be above 0"),
        ("policy: cheapest, patience: -1s", "patience"),
        ("policy: cheapest, patience: soon", "patience is 'soon' (use a time such as 500ms"),
        ("policy: cheapest, priority: urgent", "priority is 'urgent' (use interactive or batch)"),
        ("policy: cheapest, classes: [guessing]", "classes[0] is 'guessing' (use classification"),
        ("policy: cheapest, sizes: small", "sizes is 'small' (use a list)"),
        ("policy: cheapest, falback: [a]", "falback is not known here (did you mean fallback?)"),
        (
            "policy: weighted, models: [{model: a, n: 1}]",
            ".n is not known here (known are model, weight)",
        ),
        ("policy: weighted, models: [{model: a, weight: -1}]", "weight is -1 (use a number"),
        ("policy: cheapest, models: ['a b']", "models[0].model is not a name: 'a b'"),
        ("classes: [tool_use]", "policy is missing (add it)"),
        ("policy: cheapest, classes: [tool_use]", "no rule is for classification"),
        ("policy: cheapest}, {policy: cheapest", "rules[0] is for all classes: put it last"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    source = rule(text)
    if "}, {" in text:
        source = f"routes:\n- name: r\n  rules: [{{{text}}}]\n"

    assert said in faults(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "routes.yaml:1:1: is empty"),
        ("routes: 1", "routes.yaml:1:9: routes is 1 (use a list)"),
        ("routes: [", "is no YAML"),
        ("routes: []\nroutes: []", "routes.yaml:2:1: routes stands there twice"),
        ("routes: &x []", "has an anchor"),
        ("- " * 5_000, "levels deep"),
        (GOOD + "more: 1\n", "routes.yaml:20:1: more is not known here"),
        (GOOD.replace("name: trial", "name: mix"), "routes has mix twice"),
        ("x" * (MAX_BYTES + 1), "cannot be used:"),
    ],
)
def test_a_text_that_is_no_file_of_routes_is_refused(source: str, said: str) -> None:
    assert said in faults(source)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        read(b"\xff\xfe", FILE)

    assert caught.value.reason == "ROUTES_INVALID"
