"""Each service is given the stores that it opens, and those in the cluster hold what it needs."""

import ast
import base64
import re
from pathlib import Path
from typing import Final

import pytest

from services.chassis.eventlog.postgres import MOST_CONNECTIONS
from services.chassis.objectstore.open import object_store
from services.chassis.settings import AwsSettings, SharedSettings
from tests.k8s.manifests import Object, built, kustomizations, of_kind
from tests.k8s.settings import READ, SECRETS, deployments, files
from tests.servers.moto import moto

ROOT = Path(__file__).parents[2]
STORES: Final = {
    "event_store_of": "runplane_event_store",
    "hot_store": "runplane_hot_store",
    "aliased_event_bus": "runplane_event_bus",
    "object_store": "runplane_object_store",
}
"""What opens a store, and the file that says where it is."""
PORTS: Final = {
    "runplane_event_store": 5432,
    "runplane_hot_store": 6379,
    "runplane_event_bus": 9092,
    "runplane_object_store": 443,
}
OPTIONAL: Final = "runplane_object_store"
LISTENERS: Final = 1
"""Connections of a process to PostgreSQL beside those of its pool."""
OF_ADMINISTRATORS: Final = 3
"""Connections that PostgreSQL keeps for them."""


def opened_by(service: str) -> set[str]:
    """What the code of a service opens."""
    app = ROOT / "services" / service.replace("-", "_") / "app.py"
    if not app.is_file():
        return set()
    called = {
        node.func.id
        for node in ast.walk(ast.parse(app.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return {file for name, file in STORES.items() if name in called}


@pytest.mark.parametrize("name", kustomizations())
def test_a_service_is_given_the_stores_that_it_opens_and_no_others(name: str) -> None:
    given = {
        service: {*files(each)} & {*STORES.values()}
        for service, each in deployments(built(name)).items()
    }

    opened = {service: opened_by(service) for service in READ}

    assert {service: found - {OPTIONAL} for service, found in given.items()} == {
        service: found - {OPTIONAL} for service, found in opened.items()
    }
    assert {service for service, found in given.items() if OPTIONAL in found} <= {"orchestrator"}


@pytest.mark.parametrize("name", kustomizations())
def test_a_service_is_let_out_to_its_stores_and_no_others(name: str) -> None:
    policies = of_kind(name, "NetworkPolicy")
    for service, each in deployments(built(name)).items():
        ports = {
            port["port"]
            for rule in policies[service]["spec"]["egress"]
            if "to" not in rule
            for port in rule["ports"]
        }

        assert ports == {PORTS[file] for file in files(each) if file in PORTS}


def test_a_store_in_the_cluster_lets_in_who_opens_it_and_nobody_else() -> None:
    policies = of_kind("overlays/dev", "NetworkPolicy")

    let_in = {
        store: {
            caller
            for rule in policies[store]["spec"]["ingress"]
            for source in rule["from"]
            for caller in source["podSelector"]["matchExpressions"][0]["values"]
        }
        for store in ("postgres", "redis", "kafka", "object-store")
    }

    assert let_in == {
        store: {service for service in READ if file in opened_by(service)}
        for store, file in zip(let_in, PORTS, strict=True)
    }


async def test_what_the_dev_overlay_says_is_enough_to_keep_a_large_value(tmp_path: Path) -> None:
    secret = of_kind("overlays/dev", "Secret")["runplane-object-store"]["data"]
    said = {key: base64.b64decode(value).decode() for key, value in secret.items()}
    store = of_kind("overlays/dev", "StatefulSet")["object-store"]["spec"]["template"]["spec"]
    (container,) = store["containers"]
    (port,) = of_kind("overlays/dev", "Service")["object-store"]["spec"]["ports"]
    for file, key in placed("orchestrator", "runplane-object-store"):
        if key in said:
            (tmp_path / file).write_text(said[key], encoding="utf-8")
    (tmp_path / "runplane_page_token_key").write_text(SECRETS["runplane_page_token_key"])
    shared = SharedSettings(_secrets_dir=tmp_path)
    aws = AwsSettings(_secrets_dir=tmp_path)
    bucket = str(shared.object_store).removeprefix("s3://")

    with moto() as server:
        server.make(bucket)
        there = aws.model_copy(update={"endpoint_url": server.aws.endpoint_url})
        async with object_store(str(shared.object_store), there) as opened:
            kept = await opened.get("default", await opened.put("default", b"x" * 100_000))

    assert kept == b"x" * 100_000
    assert aws.endpoint == f"http://object-store:{port['port']}"
    assert f"{container['args'][1]}/{bucket}" in {
        each["mountPath"] for each in container["volumeMounts"]
    }


def placed(service: str, secret: str) -> list[tuple[str, str]]:
    """The files that a service has of a Secret, each with its key."""
    pod = deployments(built("overlays/dev"))[service]["spec"]["template"]["spec"]
    return [
        (item["path"], item["key"])
        for source in pod["volumes"][0]["projected"]["sources"]
        if source["secret"]["name"] == secret
        for item in source["secret"]["items"]
    ]


def containers(store: str) -> dict[str, Object]:
    """Its one container, by the names of the kustomizations that have it in the cluster."""
    found = {}
    for name in kustomizations():
        if (each := of_kind(name, "StatefulSet").get(store)) is not None:
            (found[name],) = each["spec"]["template"]["spec"]["containers"]
    return found


def test_postgres_in_the_cluster_takes_the_connections_of_all_replicas() -> None:
    most = {
        name: int(re.search(r"max_connections=(\d+)", " ".join(each["args"]))[1])  # type: ignore[index]
        for name, each in containers("postgres").items()
    }

    assert "overlays/dev" in most
    assert [name for name in most if most[name] - OF_ADMINISTRATORS < connections(name)] == []


def connections(name: str) -> int:
    """The most that PostgreSQL is asked for: of all replicas, and of one more while they roll."""
    kinds = ("HorizontalPodAutoscaler", "ScaledObject")
    scaled = [each for kind in kinds for each in of_kind(name, kind).values()]
    most = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"].get("maxReplicas")
        or each["spec"]["maxReplicaCount"]
        for each in scaled
    }
    replicas = sum(
        most.get(service) or each["spec"]["replicas"]
        for service, each in deployments(built(name)).items()
        if "runplane_event_store" in files(each)
    )
    surging = sum(
        "runplane_event_store" in files(each) for each in deployments(built(name)).values()
    )
    return (replicas + surging) * (MOST_CONNECTIONS + LISTENERS)


def test_the_readme_says_how_many_connections_prod_asks_for() -> None:
    text = (ROOT / "k8s/README.md").read_text(encoding="utf-8")

    assert f"`prod` asks for at most {connections('overlays/prod')}" in text


def test_kafka_keeps_its_logs_below_the_root_of_its_volume() -> None:
    """Where a volume has a `lost+found`, at which Kafka would not start."""
    found = containers("kafka")

    assert "overlays/dev" in found
    for container in found.values():
        (logs,) = (each["value"] for each in container["env"] if each["name"] == "KAFKA_LOG_DIRS")
        mounts = [part["mountPath"] for part in container["volumeMounts"]]
        assert logs not in mounts
        assert any(logs.startswith(f"{mount}/") for mount in mounts)
