"""The evaluator against what Prometheus says: worked out by hand from its documentation, and held
against promtool (see `test_alerts`)."""

import math

import pytest

from tests.promql.alerting import ran
from tests.promql.evaluation import evaluated
from tests.promql.series import Storage, labels, values


def of(series: dict[str, str], expression: str, minutes: float) -> dict[str, float]:
    """An expression after so many minutes, by the values of the labels that are left."""
    found = evaluated(expression, Storage(series), minutes * 60)
    assert isinstance(found, dict)
    return {
        ",".join(value for label, value in sorted(each) if label != "__name__"): value
        for each, value in found.items()
    }


def at(minutes: float, expression: str, **given: str) -> dict[str, float]:
    """The same for series without labels."""
    return of(given, expression, minutes)


def test_values_are_in_the_notation_of_promtool() -> None:
    written = list(values("1+2x2 _ 5x1 _x2 -3 stale"))

    assert written == [(0, 1), (1, 3), (2, 5), (4, 5), (5, 5), (8, -3), (9, None)]


def test_labels_are_those_of_a_selector() -> None:
    assert labels('m{a="1", b="2"}') == {("__name__", "m"), ("a", "1"), ("b", "2")}
    assert labels("m") == {("__name__", "m")}
    assert labels("{}") == frozenset()


def test_a_sample_is_the_newest_for_five_minutes_unless_its_series_ends() -> None:
    assert at(4.9, "m", m="1") == {"": 1.0}
    assert at(5.1, "m", m="1") == {}
    assert at(1, "m", m="1 stale") == {}


def test_a_counter_grows_by_its_rate_however_it_is_sampled() -> None:
    assert at(10, "rate(m[5m])", m="0+60x10") == {"": pytest.approx(1.0)}
    assert at(10, "increase(m[5m])", m="0+60x10") == {"": pytest.approx(300.0)}
    assert at(10, "rate(m[5m])", m="7x10") == {"": 0.0}


def test_a_counter_that_begins_anew_has_grown_by_what_it_is() -> None:
    assert at(10, "increase(m[5m])", m="0+60x7 0+60x2") == {"": pytest.approx(180 * 5 / 4)}


def test_one_sample_makes_no_rate() -> None:
    assert at(10, "rate(m[1m])", m="0+60x10") == {}


def test_nothing_grows_from_before_it_was_zero() -> None:
    """0 a minute ago, 60 now: it was not below 0 four minutes ago."""
    assert at(10, "increase(m[5m])", m="_x9 0 60") == {"": pytest.approx(60.0)}


def test_averages_are_over_the_samples_there_are() -> None:
    assert at(5, "avg_over_time(m[5m])", m="9 0 1 1 1 2") == {"": pytest.approx(1.0)}
    assert at(5, "max_over_time(m[5m])", m="9 0 1 1 1 2") == {"": 2.0}


@pytest.mark.parametrize(
    ("share", "quantile"), [(0.5, 0.55), (0.1, 0.1), (0.05, 0.05), (0.99, 1.0), (1.0, 1.0)]
)
def test_a_quantile_is_between_the_bounds_of_its_bucket(share: float, quantile: float) -> None:
    """10 up to 0.1, 80 up to 1, and 10 beyond."""
    counts = {"0.1": "10", "1": "90", "+Inf": "100"}
    series = {f'm_bucket{{le="{bound}"}}': count for bound, count in counts.items()}

    found = of(series, f"histogram_quantile({share}, m_bucket)", 0)

    assert found == {"": pytest.approx(quantile)}


def test_nothing_has_no_quantile() -> None:
    series = {f'm_bucket{{le="{bound}"}}': "0" for bound in ("1", "+Inf")}

    (found,) = of(series, "histogram_quantile(0.5, m_bucket)", 0).values()

    assert math.isnan(found)
    assert of(series, "histogram_quantile(0.5, m_bucket) > 0", 0) == {}


SERIES = {'m{a="x", b="1"}': "1", 'm{a="x", b="2"}': "2", 'm{a="y", b="1"}': "4", 'n{a="x"}': "10"}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum(m)", {"": 7}),
        ("sum by (a) (m)", {"x": 3, "y": 4}),
        ("sum without (a) (m)", {"1": 5, "2": 2}),
        ("max by (a) (m)", {"x": 2, "y": 4}),
        ("min(m)", {"": 1}),
        ("avg(m)", {"": 7 / 3}),
        ("count by (b) (m)", {"1": 2, "2": 1}),
        ('m{a="x"}', {"x,1": 1, "x,2": 2}),
        ('m{a!="x"}', {"y,1": 4}),
        ('m{a=~"x|z"}', {"x,1": 1, "x,2": 2}),
        ('m{a=~"."}', {"x,1": 1, "x,2": 2, "y,1": 4}),
        ('m{a!~"x"}', {"y,1": 4}),
        ('m{c=""}', {"x,1": 1, "x,2": 2, "y,1": 4}),
        ("m > 1", {"x,2": 2, "y,1": 4}),
        ("m * 2 + 1", {"x,1": 3, "x,2": 5, "y,1": 9}),
        ("m > 2 * 0.5", {"x,2": 2, "y,1": 4}),
        ("sum by (a) (m) / n", {"x": 0.3}),
        ("sum by (a) (m) < on (a) n", {"x": 3}),
        ('m{b="2"} / on (a) n', {"x": 0.2}),
        ('m{b="2"} < on (a) n', {"x": 2}),
        ('m{b="2"} < ignoring (b) n', {"x": 2}),
        ("sum by (a) (m) and n", {"x": 3}),
        ("sum by (a) (m) unless n", {"y": 4}),
        ("m unless on (a) n", {"y,1": 4}),
        ("m unless ignoring (b) n", {"y,1": 4}),
        ("n or sum by (a) (m)", {"x": 10, "y": 4}),
        ("(n)", {"x": 10}),
        ("absent(m)", {}),
        ('absent(o{a="x", b=~"1"})', {"x": 1}),
        ("vector(0)", {"": 0}),
        ("sum(o) or vector(0)", {"": 0}),
        ("-1 * n", None),
    ],
)
def test_expressions_are_what_prometheus_makes_of_them(
    expression: str, found: dict[str, float] | None
) -> None:
    if found is None:
        with pytest.raises(NotImplementedError):
            of(SERIES, expression, 0)
        return

    assert of(SERIES, expression, 0) == pytest.approx(found)


@pytest.mark.parametrize(
    "expression",
    [
        "m offset 5m",
        "topk(1, m)",
        "quantile_over_time(1, m[1m])",
        "m % 2",
        "m % n",
        "m > bool 1",
        "m > bool n",
        "m + on (a) group_left n",
        "n + on (a) group_right (b) m",
        "m + fill (0) n",
        'm{a="x" or b="1"}',
    ],
)
def test_what_is_not_known_is_said(expression: str) -> None:
    with pytest.raises(NotImplementedError):
        evaluated(expression, Storage(SERIES), 0)


@pytest.mark.parametrize(
    "expression",
    [
        "m / on (a) n",
        "n / on (a) m",
        "m > ignoring (b) n",
        "n < ignoring (b) m",
        '{a="x", b!="2"} * 2',
        'increase({a="x", b!="2"}[5m])',
    ],
)
def test_what_prometheus_cannot_tell_apart_is_refused(expression: str) -> None:
    series = {**SERIES, 'n{a="x", b="1"}': "1"} if "{" in expression else SERIES
    again = {name: f"{value} {value}" for name, value in series.items()}

    with pytest.raises(ValueError, match="many-to-many"):
        evaluated(expression, Storage(again), 60)


def test_what_is_not_asked_for_on_one_side_is_not_told_apart() -> None:
    assert of(SERIES, 'm / on (a) n{a="y"}', 0) == {}


HIGH = {"alert": "High", "expr": "m > 1", "for": "2m", "labels": {"severity": "page"}}
FIRING = 'ALERTS{alertname="High", severity="page", alertstate="firing"}'


@pytest.mark.parametrize(
    ("series", "minutes"),
    [
        ("0 2x6", [3, 4, 5, 6]),
        ("0 2x1 0 2x4", [6]),
        ("2x3 0x2", [2, 3]),
        ("1x6", []),
    ],
)
def test_an_alert_fires_while_it_holds_and_has_held_for_so_long(
    series: str, minutes: list[int]
) -> None:
    fires = [
        minute
        for minute in range(7)
        if evaluated(FIRING, ran([HIGH], Storage({"m": series}), minute * 60), minute * 60)
    ]

    assert fires == minutes


def test_alerts_see_what_rules_before_them_record() -> None:
    rules = [{"record": "m", "expr": "sum(n)"}, {**HIGH, "for": "0m"}]

    storage = ran(rules, Storage({'n{a="x"}': "1x3", 'n{a="y"}': "1x1 stale"}), 120)

    assert evaluated(FIRING, storage, 60)
    assert not evaluated(FIRING, storage, 120)


def test_a_rule_that_records_gives_its_labels() -> None:
    rule = {"record": "m", "expr": "sum by (a) (n)", "labels": {"a": "z", "b": "1"}}

    storage = ran([rule], Storage({'n{a="x"}': "1"}), 0)

    assert evaluated('m{a="z", b="1"}', storage, 0)


@pytest.mark.parametrize("key", ["keep_firing_for", "limit"])
def test_what_is_not_known_of_a_rule_is_said(key: str) -> None:
    with pytest.raises(NotImplementedError):
        ran([{**HIGH, key: "1m"}], Storage({"m": "1"}), 0)
