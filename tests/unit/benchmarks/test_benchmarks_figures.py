import json

import pytest

from benchmarks.bench import Run, cpu_each, errors, together
from benchmarks.figure import Bar, Figure, judged
from benchmarks.load.figures import quantile, summary_ms
from benchmarks.table import rendered


def run(count: int, errors: dict[str, int] | None = None, **cpu: float) -> Run:
    return Run({"count": count, "errors": dict(errors or {})}, cpu, others=0.0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_a_quantile_is_a_sample_whatever_their_order(share: float, value: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], share) == value


def test_nothing_measured_is_zero() -> None:
    assert summary_ms([]) == {"n": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}


def test_durations_are_summed_up_in_milliseconds() -> None:
    assert summary_ms([0.002, 0.001]) == {"n": 2, "p50": 1.0, "p99": 2.0, "max": 2.0}


@pytest.mark.parametrize(
    ("bar", "good", "bad"),
    [(Bar(2.0, aim=1.2), 2.0, 2.01), (Bar(600, is_least=True), 600, 599)],
)
def test_a_bar_is_met_at_its_limit(bar: Bar, good: float, bad: float) -> None:
    assert bar.is_met(good)
    assert not bar.is_met(bad)


def test_a_figure_is_the_median_of_its_runs() -> None:
    figure = Figure("invoke", "rate", "/s", [1.0, 100.0, 3.0], Bar(2, is_least=True))
    assert figure.value == 3.0
    assert figure.is_met is True


def test_a_figure_without_a_bar_is_neither_met_nor_missed() -> None:
    assert Figure("invoke", "p50", "ms", [1.0]).is_met is None


def test_no_bar_is_met_in_a_row_that_has_errors() -> None:
    figures = [
        Figure("tool-kinds http", "p50", "ms", [0.0], Bar(2)),
        Figure("tool-kinds http", "CPU", "ms", [0.0], errors={"503": 7}),
        Figure("tool-kinds grpc", "p50", "ms", [1.0], Bar(2)),
    ]

    assert [each.is_met for each in judged(figures)] == [False, None, True]


def test_cpu_is_for_each_request_by_process() -> None:
    runs = [run(100, gateway=0.1, load=0.05), run(100, gateway=0.3, load=0.05)]
    each = cpu_each(runs, 1, 1e3)
    assert each["gateway"] == pytest.approx(2.0)
    assert each["load"] == pytest.approx(0.5)


def test_what_we_spend_together_leaves_the_load_out() -> None:
    one = run(10, gateway=0.1, inference=0.2, load=5.0)
    assert together(one, each=2, per=1e6) == pytest.approx(15_000)


def test_errors_of_all_runs_are_added_up() -> None:
    assert errors([run(1, {"503": 2}), run(1, {"503": 1, "429": 1})]) == {"503": 3, "429": 1}


def test_a_run_without_a_good_answer_still_has_figures() -> None:
    assert together(run(0, gateway=0.1), 1, 1e3) == pytest.approx(100)


def test_the_table_shows_medians_bars_cpu_and_errors() -> None:
    figure = Figure(
        "invoke-32",
        "CPU an invoke",
        "ms",
        [2.5, 2.0, 3.0],
        Bar(2, aim=1.2),
        cpu={"gateway": 0.5, "orchestrator": 2.0, "up": 0.001},
        errors={"503": 7},
        note="beware",
    )
    row = next(line for line in rendered([figure]).splitlines() if line.startswith("invoke-32 "))
    for cell in ("2.50 ms (2.00..3.00)", "≤ 2 (aim 1.2)", "NO", "edge 0.50 + orch 2.00 ms", "503"):
        assert cell in row
    assert "up " not in row
    assert "invoke-32: beware" in rendered([figure])


def test_a_figure_is_json() -> None:
    document = Figure("invoke", "rate", "/s", [1.0, 2.0], Bar(1, is_least=True)).document()
    assert json.loads(json.dumps(document))["met"] is True
