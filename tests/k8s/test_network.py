"""Who may reach whom, as a network plugin would judge it: out of the one, and into the other."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.k8s.manifests import Object, built, kustomizations
from tests.k8s.settings import READ

README: Final = Path(__file__).parents[2] / "k8s/README.md"
EVERYONE: Final = "everyone"


def policies(name: str) -> dict[str, Object]:
    return {
        each["metadata"]["name"]: each["spec"]
        for each in built(name)
        if each["kind"] == "NetworkPolicy"
    }


def pods(name: str) -> dict[str, Object]:
    """The templates of all pods, by what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in built(name)
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}
    }


def ports(pod: Object) -> Mapping[str, int]:
    return {
        each["name"]: each["containerPort"]
        for each in pod["spec"]["containers"][0].get("ports", [])
    }


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    return all(
        labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()
    ) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def admits(
    rules: Sequence[Object], side: str, labels: Mapping[str, str], port: tuple[str, int]
) -> bool:
    """Whether a rule is about pods of this namespace with these labels, and this port of theirs."""
    return any(
        (
            side not in rule
            or any(
                "ipBlock" in peer
                or ("namespaceSelector" not in peer and selects(peer["podSelector"], labels))
                for peer in rule[side]
            )
        )
        and ("ports" not in rule or any(each["port"] in port for each in rule["ports"]))
        for rule in rules
    )


def edges(name: str) -> Iterator[tuple[str, str, str]]:
    """Caller, callee, and the name of the port."""
    there, judged = pods(name), policies(name)
    for caller, out in there.items():
        for callee, into in there.items():
            for port in ports(into).items():
                labels, own = into["metadata"]["labels"], out["metadata"]["labels"]
                if admits(judged[caller]["egress"], "to", labels, port) and admits(
                    judged[callee]["ingress"], "from", own, port
                ):
                    yield caller, callee, port[0]


def said() -> set[tuple[str, str]]:
    """Who calls whom, of the services, as the table says."""
    table = README.read_text(encoding="utf-8").partition("## Who may call whom")[2]
    found = set()
    for callee, callers in re.findall(r"^\| ([a-z ]+) \| ([a-z, ]+) \|", table, re.MULTILINE):
        if callers not in {EVERYONE, "is called by"}:
            found |= {
                (each.replace(" ", "-"), callee.replace(" ", "-")) for each in callers.split(", ")
            }
    return found


@pytest.mark.parametrize("name", kustomizations())
def test_services_reach_each_other_as_the_readme_says(name: str) -> None:
    reached = {
        (caller, callee)
        for caller, callee, port in edges(name)
        if caller in READ and callee in READ and port == "grpc"
    }

    assert len(said()) == 8
    assert reached == said()


@pytest.mark.parametrize("name", kustomizations())
def test_nobody_of_the_suite_reaches_an_admin_port(name: str) -> None:
    assert [edge for edge in edges(name) if edge[2] == "admin"] == []


@pytest.mark.parametrize("name", ["overlays/dev", "tests/everything"])
def test_stores_and_collectors_reach_nobody(name: str) -> None:
    others = pods(name).keys() - READ.keys()

    assert [edge for edge in edges(name) if edge[0] in others and edge[1] in READ] == []
