"""Images install what their service imports, at the versions that everything else runs with."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest

from tests.images.dockerfile import ROOT
from tests.images.locks import normal, pins

SERVICES = {
    "gateway": "gateway",
    "inference": "services.inference",
    "orchestrator": "services.orchestrator",
    "tool-registry": "services.tool_registry",
    "workflow": "services.workflow",
}
LOADED_BY_NAME = {
    "httptools",  # uvicorn, for the admin port.
    "tzdata",  # zoneinfo, where the system has no zones.
    "xllamacpp",  # The engine, which is imported once a model is to be loaded.
}
OPTIONAL = {"vllm"}
"""What an image of its own brings."""
each_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_lock = pytest.mark.parametrize("path", sorted((ROOT / "images").glob("*.lock")), ids=str)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def listed(group: str) -> set[str]:
    """The distributions of a group, of those that it includes, too."""
    found: set[str] = set()
    for entry in project()["dependency-groups"][group]:
        found |= {normal(entry)} if isinstance(entry, str) else listed(entry["include-group"])
    return found


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "gateway", include_external_packages=True)


def imported(graph: grimp.ImportGraph, package: str) -> set[str]:
    """The modules of others that a service imports, wherever it does."""
    modules = graph.find_upstream_modules(f"{package}.__main__")
    names = {module.partition(".")[0] for module in modules}
    return names - {"services", "gateway", "runplane"} - sys.stdlib_module_names - OPTIONAL


@each_service
def test_a_group_has_whatever_its_service_imports(name: str, graph: grimp.ImportGraph) -> None:
    owners = packages_distributions() | {"protobuf": ["protobuf-py"]}
    locked = pins(ROOT / "images" / f"{name}.lock").keys()

    missing = {
        module
        for module in imported(graph, SERVICES[name])
        if not {normal(each) for each in owners.get(module, [module])} & locked
    }

    assert missing == set()


@each_service
def test_a_group_has_nothing_that_its_service_does_not_import(
    name: str, graph: grimp.ImportGraph
) -> None:
    owners = packages_distributions() | {"protobuf": ["protobuf-py"]}
    used = {
        normal(owner)
        for module in imported(graph, SERVICES[name])
        for owner in owners.get(module, [module])
    }

    assert listed(name) - used - LOADED_BY_NAME == set()


def test_groups_together_are_what_the_distribution_depends_on() -> None:
    settings = project()["project"]
    needed = {normal(each) for each in settings["dependencies"]}
    extra = {normal(each) for each in settings["optional-dependencies"]["llamacpp"]}

    grouped = set().union(*(listed(name) for name in SERVICES))

    assert grouped - needed - extra == set()
    assert needed - grouped == {"click"}  # Of the command alone.


@each_lock
def test_every_pin_has_a_hash_and_no_place_to_come_from(path: Path) -> None:
    text = path.read_text("utf-8")

    assert "://" not in text
    assert re.findall(r"^[^\s#][^\\]*$", text, re.MULTILINE) == []
    assert len(pins(path)) > 0


def test_the_image_for_gpus_shares_its_versions_with_the_others() -> None:
    others, gpu = pins(ROOT / "images/cli.lock"), pins(ROOT / "images/inference-gpu.lock")

    assert "vllm" in gpu
    assert {
        name: gpu[name] for name in gpu.keys() & others.keys() if not gpu[name] <= others[name]
    } == {}


@each_service
def test_images_have_the_versions_that_the_tests_run_with(name: str) -> None:
    tested = pins(ROOT / "requirements.lock")

    assert {
        package: versions
        for package, versions in pins(ROOT / "images" / f"{name}.lock").items()
        if not versions <= tested.get(package, set())
    } == {}
