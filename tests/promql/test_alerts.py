"""`ops/rules/tests/alerts.yaml`: each alert fires when it is to, and only then.

The file is promtool's; who has that can run it there. Here it goes through `tests.promql`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.promql.alerting import ran, seconds
from tests.promql.evaluation import evaluated
from tests.promql.series import Storage, labels

Rules = Sequence[Mapping[str, Any]]

TESTS = Path(__file__).parents[2] / "ops" / "rules" / "tests" / "alerts.yaml"
RECORDED = "runplane:"
_THRESHOLD = re.compile(r"([<>]) ([\d.]*[1-9][\d.]*)(?=\s|$)")


def document() -> dict[str, Any]:
    """The file."""
    read: dict[str, Any] = yaml.safe_load(TESTS.read_text())
    return read


def rules() -> list[dict[str, Any]]:
    """The rules that it is about, in their order."""
    files = [(TESTS.parent / name).read_text() for name in document()["rule_files"]]
    groups = [group for text in files for group in yaml.safe_load(text)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


CASES = document()["tests"]
ALERTS = [rule for rule in rules() if "alert" in rule]


def faults(case: Mapping[str, Any], judged: Rules) -> Iterator[str]:
    """Where the rules do something else than the case says."""
    given = {each["series"]: str(each["values"]) for each in case["input_series"]}
    last = max(seconds(each["eval_time"]) for each in case["promql_expr_test"])
    judged = [rule for rule in judged if rule.get("alert", "") in str(case["promql_expr_test"])]
    if not any(RECORDED in rule["expr"] for rule in judged):  # It takes long to record it.
        judged = [rule for rule in judged if "alert" in rule]
    storage = ran(judged, Storage(given, interval=seconds(case["interval"])), last)
    for each in case["promql_expr_test"]:
        expected = {labels(one["labels"]): one["value"] for one in each.get("exp_samples", [])}
        found = evaluated(each["expr"], storage, seconds(each["eval_time"]))
        if found != expected:
            yield f"{case['name']}, at {each['eval_time']}: {each['expr']} is {found}"


def of(alert: str) -> list[dict[str, Any]]:
    """The cases of an alert."""
    return [case for case in CASES if f'"{alert}"' in str(case["promql_expr_test"])]


def told_by(case: Mapping[str, Any], alert: str) -> set[bool]:
    """Whether the case says that the alert fires, and that it does not."""
    asked = [each for each in case["promql_expr_test"] if f'"{alert}"' in each["expr"]]
    return {bool(each.get("exp_samples")) for each in asked}


def changed(alert: str, **changes: str) -> Rules:
    """The rules, with this one changed."""
    return [{**rule, **changes} if rule.get("alert") == alert else rule for rule in rules()]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_alerts_fire_when_they_are_to(case: Mapping[str, Any]) -> None:
    assert list(faults(case, rules())) == []


@pytest.mark.parametrize("alert", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_each_alert_is_shown_to_fire_and_not_to(alert: Mapping[str, Any]) -> None:
    told = set().union(*(told_by(case, alert["alert"]) for case in of(alert["alert"])))

    assert told == {True, False}


@pytest.mark.parametrize(
    ("alert", "patience"),
    [
        (rule["alert"], f"{seconds(rule['for']) + change:g}s")
        for rule in ALERTS
        for change in (-60, 60)
        if seconds(rule["for"]) + change >= 0
    ],
)
def test_a_minute_more_or_less_of_patience_is_noticed(alert: str, patience: str) -> None:
    judged = changed(alert, **{"for": patience})

    assert [fault for case in of(alert) for fault in faults(case, judged)]


def thresholds() -> Iterator[tuple[str, str]]:
    """Alerts with one of their thresholds a quarter lower, or higher."""
    for rule in ALERTS:
        for found in _THRESHOLD.finditer(rule["expr"]):
            for factor in (0.75, 1.25):
                other = f"{found[1]} {float(found[2]) * factor:g}"
                before, after = rule["expr"][: found.start()], rule["expr"][found.end() :]
                yield rule["alert"], f"{before}{other}{after}"


@pytest.mark.parametrize(("alert", "expression"), list(thresholds()))
def test_another_threshold_is_noticed(alert: str, expression: str) -> None:
    judged = changed(alert, expr=expression)

    assert [fault for case in of(alert) for fault in faults(case, judged)]
