"""What k8s/README.md says of sizes is what the manifests say, and what follows from it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.k8s.manifests import Object, built
from tests.k8s.settings import deployments

README: Final = Path(__file__).parents[2] / "k8s/README.md"
WHERE: Final = {
    "gateway": ("overlays/dev", "gateway"),
    "orchestrator": ("overlays/dev", "orchestrator"),
    "tool registry": ("overlays/dev", "tool-registry"),
    "workflow": ("overlays/dev", "workflow"),
    "inference, `echo`": ("overlays/dev", "inference"),
    "inference, llama.cpp with SmolLM2-135M": ("overlays/staging", "inference"),
    "inference, vLLM": ("overlays/prod", "inference"),
}
"""The overlay and the Deployment that each line of the table is about."""


def lines() -> Iterator[list[str]]:
    """Of the table: service, memory, CPU, requests, limit."""
    section = README.read_text(encoding="utf-8").partition("## Sizes")[2]
    for line in section.splitlines():
        cells = [each.strip() for each in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "service":
            yield cells


TABLE: Final = {cells[0]: cells[1:] for cells in lines()}


def resources(service: str) -> Mapping[str, Object]:
    overlay, name = WHERE[service]
    pod = deployments(built(overlay))[name]["spec"]["template"]["spec"]
    found: Mapping[str, Object] = pod["containers"][0]["resources"]
    return found


def cores(amount: str) -> float:
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def mebibytes(amount: str) -> int:
    number, unit = amount[:-2], amount[-2:]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_every_service_is_in_the_table() -> None:
    assert TABLE.keys() == WHERE.keys()


@pytest.mark.parametrize("service", WHERE)
def test_the_table_says_what_the_manifests_say(service: str) -> None:
    _, _, requests, limit = TABLE[service]
    cpu, memory = requests.split(", ")

    said = resources(service)

    assert said["requests"] == {"cpu": cpu, "memory": memory}
    assert said["limits"]["memory"] == limit


@pytest.mark.parametrize("service", [each for each in WHERE if each != "inference, vLLM"])
def test_a_service_requests_at_least_what_it_was_measured_to_take(service: str) -> None:
    most = max(map(int, TABLE[service][0].split(", ")))

    requested = mebibytes(resources(service)["requests"]["memory"])

    assert most <= requested <= mebibytes(resources(service)["limits"]["memory"])


@pytest.mark.parametrize(
    ("service", "said"),
    [("orchestrator", "an orchestrator does some {}"), ("gateway", "an edge some {}")],
)
def test_what_a_replica_does_follows_from_its_request(service: str, said: str) -> None:
    (scaler,) = (
        each
        for each in built("overlays/dev")
        if each["kind"] == "HorizontalPodAutoscaler" and each["metadata"]["name"] == service
    )
    share = scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] / 100
    (milliseconds,) = map(float, re.findall(r"([\d.]+) ms", TABLE[service][1]))

    rate = share * cores(resources(service)["requests"]["cpu"]) / (milliseconds / 1000)

    assert said.format(int(round(rate, -1))) in README.read_text(encoding="utf-8")
