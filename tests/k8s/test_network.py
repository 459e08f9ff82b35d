"""Who may reach whom, as a network plugin would judge it: out of the one, and into the other."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.k8s.manifests import Object, built, kustomizations, of_kind
from tests.k8s.settings import READ

README: Final = Path(__file__).parents[2] / "k8s/README.md"
EVERYONE: Final = "everyone"
EVERYTHING: Final[Object] = {}
"""A rule without conditions."""


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


def judging(policies: Iterable[Object], pod: Object, side: str) -> list[Object]:
    """The policies that are for a pod: where there are some, nothing else is allowed."""
    return [
        each["spec"]
        for each in policies
        if side.title() in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], pod["metadata"]["labels"])
    ]


def rules(policies: Iterable[Object], pod: Object, side: str) -> list[Object]:
    """What is allowed to a pod: by whatever policy, for they add up."""
    found = judging(policies, pod, side)
    return [rule for each in found for rule in each.get(side, [])] if found else [EVERYTHING]


def edges(name: str) -> Iterator[tuple[str, str, str]]:
    """Caller, callee, and the name of the port."""
    there, policies = pods(name), of_kind(name, "NetworkPolicy").values()
    sent = {pod: rules(policies, template, "egress") for pod, template in there.items()}
    taken = {pod: rules(policies, template, "ingress") for pod, template in there.items()}
    for caller, out in there.items():
        for callee, into in there.items():
            for port in ports(into).items():
                labels, own = into["metadata"]["labels"], out["metadata"]["labels"]
                if admits(sent[caller], "to", labels, port) and admits(
                    taken[callee], "from", own, port
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
def test_a_policy_is_for_every_pod_both_ways(name: str) -> None:
    """Where none is, everything is allowed."""
    policies = of_kind(name, "NetworkPolicy").values()

    unjudged = [
        (pod, side)
        for pod, template in pods(name).items()
        for side in ("ingress", "egress")
        if not judging(policies, template, side)
    ]

    assert unjudged == []


def policy(labels: Mapping[str, str], **sides: list[Object]) -> Object:
    kinds = [side.title() for side in sides]
    return {"spec": {"podSelector": {"matchLabels": labels}, "policyTypes": kinds, **sides}}


def test_policies_add_up_whatever_they_are_called() -> None:
    pod: Object = {"metadata": {"labels": {"app": "a", "part-of": "all"}}}
    first, second = {"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}
    of_it, of_all = policy({"app": "a"}, ingress=[first]), policy({}, ingress=[second])
    of_another = policy({"app": "b"}, ingress=[EVERYTHING], egress=[EVERYTHING])

    assert rules([of_it, of_all, of_another], pod, "ingress") == [first, second]
    assert rules([of_it, of_all, policy({}, egress=[])], pod, "egress") == []
    assert rules([of_it, of_all, of_another], pod, "egress") == [EVERYTHING]


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
