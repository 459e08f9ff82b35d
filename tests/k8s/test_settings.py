"""What the manifests tell the services is what these understand, and agrees with the manifests."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.manifests import Object, built, kustomizations
from tests.k8s.settings import (
    READ,
    SECRETS,
    deployments,
    environment,
    files,
    loaded,
    unknown,
)

EACH = [(name, service) for name in kustomizations() for service in sorted(READ)]
each_service = pytest.mark.parametrize(("name", "service"), EACH)
HANDING_OVER = timedelta(seconds=5)
"""What a service takes at least, after its grace, for what must be written down before it ends."""


@pytest.fixture
def settings(name: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that a service's process reads, with its pod's variables and files."""
    things = built(name)
    deployment = deployments(things)[service]
    for variable in list(os.environ):
        if variable.startswith(("RUNPLANE_", "GATEWAY_", "AWS_", *_prefixes())):
            monkeypatch.delenv(variable)
    for variable, value in environment(things, deployment).items():
        monkeypatch.setenv(variable, value)
    for file in files(deployment):
        (tmp_path / file).write_text(SECRETS[file], encoding="utf-8")
    return [loaded(kind, tmp_path) for kind in READ[service]]


def _prefixes() -> tuple[str, ...]:
    return tuple(f"{each.upper().replace('-', '_')}_" for each in READ)


def listens(settings: Any) -> tuple[str, str, timedelta]:
    server = getattr(settings, "server", settings)
    return server.listen, server.admin, server.grace


def pod_of(name: str, service: str) -> Object:
    return deployments(built(name))[service]["spec"]["template"]["spec"]


@each_service
def test_a_service_understands_all_that_its_pod_says(
    name: str, service: str, settings: list[Any]
) -> None:
    things = built(name)

    variables = list(environment(things, deployments(things)[service]))

    assert unknown(service, variables) == []
    assert len(settings) == len(READ[service])


@each_service
def test_a_service_finds_every_secret_where_it_looks(
    name: str, service: str, settings: list[Any]
) -> None:
    read = {
        f"{kind.model_config['env_prefix']}{field}".lower(): getattr(each, field)
        for kind, each in zip(READ[service], settings, strict=True)
        for field in kind.model_fields
    }
    if service == "gateway":  # It is the one that reads the key under another's name.
        read["runplane_page_token_key"] = settings[1].page_token_key
    found = files(deployments(built(name))[service])

    values = {file: getattr(read[file], "get_secret_value", lambda: read[file])() for file in found}  # noqa: B023

    assert values == {file: SECRETS[file] for file in found}


@each_service
def test_a_service_listens_where_its_pod_says(name: str, service: str, settings: list[Any]) -> None:
    ports = {
        each["name"]: each["containerPort"]
        for each in pod_of(name, service)["containers"][0]["ports"]
    }
    listen, admin, _ = listens(settings[-1])

    wire = "http" if service == "gateway" else "grpc"

    assert ports == {
        wire: int(listen.rpartition(":")[2]),
        "admin": int(admin.rpartition(":")[2]),
    }
    assert {listen.rpartition(":")[0], admin.rpartition(":")[0]} == {"0.0.0.0"}  # noqa: S104


@each_service
def test_a_pod_is_not_killed_before_its_service_has_handed_over(
    name: str, service: str, settings: list[Any]
) -> None:
    pod = pod_of(name, service)
    before = timedelta(seconds=pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])
    _, _, grace = listens(settings[-1])

    whole = timedelta(seconds=pod["terminationGracePeriodSeconds"])

    assert whole >= before + grace + HANDING_OVER


@pytest.mark.parametrize(("name", "service"), [each for each in EACH if each[1] != "gateway"])
def test_callers_find_the_replicas_that_autoscalers_add(
    name: str, service: str, settings: list[Any]
) -> None:
    age = settings[-1].server.connection_age

    assert timedelta(0) < age <= timedelta(minutes=5)


@each_service
def test_a_service_calls_services_that_are_there_and_let_it_in(
    name: str, service: str, settings: list[Any]
) -> None:
    things = built(name)
    ports = {
        each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
        for each in things
        if each["kind"] == "Service"
    }
    policies = {
        each["metadata"]["name"]: each["spec"] for each in things if each["kind"] == "NetworkPolicy"
    }
    targets = [
        value
        for variable, value in environment(things, deployments(things)[service]).items()
        if variable.endswith("__TARGET")
    ]

    for target in targets:
        host, port = re.fullmatch(r"dns:///([a-z-]+):(\d+)", target).groups()  # type: ignore[union-attr]
        callee = host.removesuffix("-pods")
        assert int(port) in ports[host]
        assert service in str(policies[callee]["ingress"])
        assert callee in str(policies[service]["egress"])
    assert len(targets) == {"gateway": 4, "orchestrator": 2, "workflow": 2}.get(service, 0)


@pytest.mark.parametrize(("name", "service"), [(each, "inference") for each in kustomizations()])
def test_somebody_says_which_engine_runs_and_where_its_model_is(
    name: str, service: str, settings: list[Any]
) -> None:
    mounts = [each["mountPath"] for each in pod_of(name, service)["containers"][0]["volumeMounts"]]
    inference = settings[-1]

    path = inference.llamacpp.model_path

    assert "engine" in inference.model_fields_set
    if inference.engine == "llamacpp":
        assert path is not None
        assert str(path.parent) in mounts


def test_a_variable_that_no_service_reads_is_found() -> None:
    variables = ["ORCHESTRATOR_SERVER__LISTEN", "ORCHESTRATOR_SERVER__LISEN", "RUNPLANE_LOGS"]

    found = unknown("orchestrator", variables)

    assert found == ["ORCHESTRATOR_SERVER__LISEN", "RUNPLANE_LOGS"]
