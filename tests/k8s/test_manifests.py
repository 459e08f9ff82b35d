"""What stands in k8s/ builds, is what Kubernetes knows, and holds to the policies."""

import copy
import tomllib
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from services.chassis.egress import addresses
from tests.k8s.manifests import ROOT, Object, built, kustomizations, policy_faults, schema_faults

Break = Callable[[Object], None]


def pod(thing: Object) -> Object:
    return thing["spec"]["template"]["spec"]


def main_of(thing: Object) -> Object:
    return pod(thing)["containers"][0]


# Of the Deployment `orchestrator` of an overlay that is right: what is broken, what is said.
BROKEN: dict[str, Break] = {
    "may run as root": lambda thing: pod(thing)["securityContext"].pop("runAsNonRoot"),
    "has no seccomp profile": lambda thing: pod(thing)["securityContext"].pop("seccompProfile"),
    "is given a service account's token": lambda thing: pod(thing).pop(
        "automountServiceAccountToken"
    ),
    "is given variables of Services": lambda thing: pod(thing).pop("enableServiceLinks"),
    "shares the host's hostNetwork": lambda thing: pod(thing).update(hostNetwork=True),
    "mounts the host's folders": lambda thing: pod(thing)["volumes"].append(
        {"name": "all", "hostPath": {"path": "/"}}
    ),
    "main may write to its root": lambda thing: main_of(thing)["securityContext"].pop(
        "readOnlyRootFilesystem"
    ),
    "main may gain privileges": lambda thing: main_of(thing)["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "main keeps capabilities": lambda thing: main_of(thing)["securityContext"]["capabilities"][
        "drop"
    ].clear(),
    "main requests no cpu": lambda thing: main_of(thing)["resources"]["requests"].pop("cpu"),
    "main has no limit of memory": lambda thing: main_of(thing)["resources"].pop("limits"),
    "main has a limit of cpu": lambda thing: main_of(thing)["resources"]["limits"].update(cpu="1"),
    "main has no readinessProbe": lambda thing: main_of(thing).pop("readinessProbe"),
    "runplane/orchestrator:latest has no fixed version": lambda thing: main_of(thing).update(
        image="runplane/orchestrator:latest"
    ),
    "runplane/orchestrator has no fixed version": lambda thing: main_of(thing).update(
        image="runplane/orchestrator"
    ),
    "no NetworkPolicy is for it": lambda thing: thing["spec"]["template"]["metadata"][
        "labels"
    ].update({"app.kubernetes.io/name": "another"}),
    "are not spread over topology.kubernetes.io/zone": lambda thing: pod(thing)[
        "topologySpreadConstraints"
    ].pop(),
    "a rollout may leave fewer": lambda thing: thing["spec"].pop("strategy"),
    "more than one thing, says how many": lambda thing: thing["spec"].update(replicas=2),
    "a new pod counts before callers": lambda thing: thing["spec"].pop("minReadySeconds"),
    "its rollout counts as failed": lambda thing: main_of(thing)["startupProbe"].update(
        failureThreshold=300
    ),
    "all files of its volumes are looked at": lambda thing: pod(thing).update(
        volumes=[{"name": "all", "persistentVolumeClaim": {"claimName": "all"}}],
        securityContext={**pod(thing)["securityContext"], "fsGroupChangePolicy": "Always"},
    ),
    "no Secret says where its runplane_event_store is": lambda thing: pod(thing)["volumes"][0][
        "projected"
    ]["sources"].clear(),
}
GONE = {
    ("NetworkPolicy", "orchestrator"): "Deployment orchestrator: no NetworkPolicy is for it",
    ("PodDisruptionBudget", "orchestrator"): "Deployment orchestrator: no PodDisruptionBudget",
    ("HorizontalPodAutoscaler", "gateway"): "Deployment gateway: nothing, or more",
    ("ScaledObject", "orchestrator"): "Deployment orchestrator: nothing, or more",
    ("Deployment", "orchestrator"): "Service orchestrator: selects no pods",
}


def named(kind: str, name: str, things: list[Object]) -> Object:
    return next(
        each for each in things if each["kind"] == kind and each["metadata"]["name"] == name
    )


def things_of(name: str = "overlays/prod") -> list[Object]:
    return copy.deepcopy(list(built(name)))


@pytest.mark.parametrize("name", kustomizations())
def test_every_object_is_what_kubernetes_knows(name: str) -> None:
    assert list(schema_faults(built(name))) == []


@pytest.mark.parametrize("name", kustomizations())
def test_every_object_holds_to_the_policies(name: str) -> None:
    assert policy_faults(built(name)) == []


@pytest.mark.parametrize("name", kustomizations())
def test_no_object_is_there_twice(name: str) -> None:
    keys = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in built(name)]

    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("said", BROKEN)
def test_the_policies_refuse_a_pod_that_is_wrong(said: str) -> None:
    things = things_of()

    BROKEN[said](named("Deployment", "orchestrator", things))

    assert any(
        fault.startswith("Deployment orchestrator: ") and said in fault
        for fault in policy_faults(things)
    )


@pytest.mark.parametrize("gone", GONE, ids="-".join)
def test_the_policies_miss_what_is_not_there(gone: tuple[str, str]) -> None:
    things = things_of()

    things.remove(named(*gone, things))

    assert any(fault.startswith(GONE[gone]) for fault in policy_faults(things))


def test_a_policy_that_lets_everybody_in_is_refused() -> None:
    things = things_of()

    named("NetworkPolicy", "workflow", things)["spec"]["ingress"] = [{}]

    assert policy_faults(things) == [
        "NetworkPolicy workflow: names no callers",
        "NetworkPolicy workflow: opens all ports",
    ]


def test_a_caller_that_is_nobody_is_refused() -> None:
    things = things_of()
    policy = named("NetworkPolicy", "workflow", things)

    policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"] = [
        "gatway"
    ]

    assert policy_faults(things) == ["NetworkPolicy workflow: names gatway, which is nobody here"]


@pytest.mark.parametrize("kind", ["Deployment", "NetworkPolicy", "Service"])
def test_an_unknown_field_is_refused(kind: str) -> None:
    thing = named(kind, "orchestrator", things_of())

    thing["spec"]["speling"] = 1

    assert any("speling" in fault for fault in schema_faults([thing]))


def test_a_kind_that_no_schema_knows_is_refused() -> None:
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}}

    assert list(schema_faults([thing]))


def test_what_is_selected_by_stays_the_same_whatever_is_chosen() -> None:
    """It cannot be changed once it is there: a rollout with another component would fail."""
    fields = ("selector", "serviceName", "volumeClaimTemplates")
    found: dict[str, list[Object]] = {}
    for name in kustomizations():
        for each in built(name):
            if each["kind"] in {"Deployment", "StatefulSet"}:
                fixed = {field: each["spec"].get(field) for field in fields}
                found.setdefault(each["metadata"]["name"], []).append(fixed)

    assert {name for name, each in found.items() if any(one != each[0] for one in each)} == set()


def test_overlays_run_the_version_of_this_tree() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))

    tags = {
        container["image"].partition(":")[2]
        for name in kustomizations()
        for each in built(name)
        if each["kind"] in {"Deployment", "Job"}
        for container in pod(each)["containers"]
        if container["image"].startswith("runplane/")
    }

    assert tags == {project["project"]["version"]}


@pytest.mark.parametrize("service", ["inference", "tool-registry"])
def test_nobody_is_let_out_to_where_a_cloud_keeps_credentials(service: str) -> None:
    metadata = [
        ip_network(text)
        for text, kind in (*addresses._V4, *addresses._V6)
        if kind == addresses.METADATA
    ]
    blocks = [
        source["ipBlock"]
        for rule in named("NetworkPolicy", service, things_of())["spec"]["egress"]
        for source in rule.get("to", [])
        if "ipBlock" in source
    ]

    shut = [ip_network(each) for block in blocks for each in block["except"]]

    assert len(blocks) == 2
    assert [
        str(each)
        for each in metadata
        if not any(each.version == one.version and each.subnet_of(one) for one in shut)  # type: ignore[arg-type]
    ] == []
