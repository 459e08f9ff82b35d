"""The documentation: what it names is there."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from pydantic_settings import BaseSettings

from services.chassis.inspection.service import service
from services.chassis.inspection.variables import unknown

ROOT: Final = Path(__file__).parents[3]
SERVICES: Final = ("inference", "orchestrator", "tool_registry", "workflow")
PAGES: Final = sorted(
    each
    for pattern in ("*.md", "docs/*.md", "docs/runbooks/*.md", "k8s/*.md", "examples/*/*.md")
    for each in ROOT.glob(pattern)
    if each.name != "CHANGELOG.md"  # It tells what was.
)
VARIABLE: Final = re.compile(
    r"\b(?:RUNPLANE|GATEWAY|INFERENCE|ORCHESTRATOR|TOOL_REGISTRY|WORKFLOW)_[A-Z0-9_]*[A-Z0-9]\b(?!_)"
)
ROUTE: Final = re.compile(r"\b(GET|POST|PATCH|PUT|DELETE)\s+(/[^\s`?\"|]*[^\s`?\"|.,;])")
FILE: Final = re.compile(
    r"`((?:services|gateway|tests|docs|k8s|ops|examples|protos|images|benchmarks)/[^`\s<{…]*)`"
)
# Wrong on purpose, a part of a name, or somebody else's.
EXAMPLES: Final = {
    "INFERENCE_ADMIN",
    "INFERENCE_ECHO_DELAY",
    "INFERENCE_LLAMACPP_SLOTS",
    "POST /photo",
    "images/NAME.lock",
}


@cache
def settings() -> frozenset[type[BaseSettings]]:
    """The settings of all processes."""
    modules = ["gateway", *(f"services.{each}" for each in SERVICES)]
    return frozenset(kind for each in modules for kind in service(each).kinds)


@cache
def routes() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The edge's."""
    paths = json.loads((ROOT / "gateway/openapi/openapi.json").read_text())["paths"]
    return tuple(
        (verb.upper(), re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))))
        for path, item in paths.items()
        for verb in item
    )


def missing(text: str) -> Iterator[str]:
    """What a text names that is not there."""
    reasons = (ROOT / "tests/contract/protos/reasons.txt").read_text().split()  # May look alike.
    set_ = set(VARIABLE.findall(text)).difference(reasons)
    yield from (each.name for each in unknown(set_, settings()))
    for verb, path in ROUTE.findall(text):
        if not any(verb == of and template.fullmatch(path) for of, template in routes()):
            yield f"{verb} {path}"
    yield from (each for each in FILE.findall(text) if not any(ROOT.glob(each.rstrip("/"))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_routes_and_files_of_a_page_are_there(page: Path) -> None:
    assert [each for each in missing(page.read_text()) if each not in EXAMPLES] == []


def test_what_is_not_there_is_found() -> None:
    text = "`GATEWAY_LISTN` `POST /v1/agent/invok` GET /v1/tasks/task_1 `docs/none.md` `ops/rules`"

    assert list(missing(text)) == ["GATEWAY_LISTN", "POST /v1/agent/invok", "docs/none.md"]
