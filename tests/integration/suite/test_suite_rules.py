"""Dashboards and rules against what a running suite shows."""

import asyncio
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.metrics_core import Metric

from tests.integration.suite.measured import suite, used

ROOT = Path(__file__).parents[3]
OPS = ROOT / "ops"
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BESIDE = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|without|ignoring)\s*\([^)]*\)|\"[^\"]*\"")
_SUFFIXED = ("runplane_", "gen_ai_", "vllm:")


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting."""
    documents = [yaml.safe_load(file.read_text()) for file in sorted(OPS.glob("rules/*.yaml"))]
    return [rule for each in documents for group in each["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """The expressions of all dashboards, by where they stand."""
    for file in sorted(OPS.glob("dashboards/*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']}", target["expr"]


def expressions() -> list[str]:
    """All of them."""
    return [expression for _, expression in panels()] + [rule["expr"] for rule in rules()]


def metrics(expression: str) -> set[str]:
    """The names that an expression asks for, but for those that rules record."""
    words = set(_WORD.findall(_BESIDE.sub(" ", expression)))
    return {word for word in words if word.startswith(_SUFFIXED)}


def _alone(family: Metric) -> str:
    """What its series are named, where it has none so far."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_expression_is_promql() -> None:
    found = expressions()

    assert len(found) > 40
    for expression in found:
        assert promql_parser.parse(expression) is not None


def test_dashboards_are_what_their_generator_writes() -> None:
    written = {file.name: file.read_text() for file in OPS.glob("dashboards/*.json")}

    assert written == runpy.run_path(str(OPS / "generate.py"))["files"]()


def test_no_dashboard_has_a_panel_twice() -> None:
    places = [place for place, _ in panels()]

    assert sorted(places) == sorted(set(places))


def test_every_alert_has_a_runbook() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]

    pages = {ROOT / rule["annotations"]["runbook_url"] for rule in alerts}
    assert len(alerts) == len(pages) > 10
    for page in pages:
        text = page.read_text()
        assert all(part in text for part in ("## What it means", "## How to look", "## What to do"))
    kept = {*(ROOT / "docs" / "runbooks").glob("*.md")} - {ROOT / "docs/runbooks/README.md"}
    assert kept == pages


def test_runbooks_and_their_index_say_of_an_alert_what_its_rule_says() -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text()
    said = {rule["alert"]: rule["annotations"]["summary"] for rule in rules() if "alert" in rule}

    listed = dict(re.findall(r"^- \[(\w+)\]\(\1\.md\): (.*)$", index, re.MULTILINE))
    opened = {
        name: (ROOT / f"docs/runbooks/{name}.md").read_text().split("\n\n")[:2] for name in said
    }
    assert listed == said
    assert opened == {name: [f"# {name}", summary] for name, summary in said.items()}


def test_recorded_names_that_are_used_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    used_ones = {
        word
        for expression in expressions()
        for word in _WORD.findall(_BESIDE.sub(" ", expression))
        if word.startswith("runplane:")
    }
    assert used_ones <= recorded


async def test_every_metric_that_is_asked_for_is_shown_by_a_running_suite() -> None:
    wanted = set().union(*map(metrics, expressions()))
    async with asyncio.timeout(60), suite() as running:
        await used(running)
        shown = {
            name
            for families in (await running.shown()).values()
            for family in families
            for name in {_alone(family), *(sample.name for sample in family.samples)}
        }

    assert wanted > {"runplane_edge_request_duration_seconds_count", "vllm:num_requests_waiting"}
    assert wanted - shown == set()
