"""What components say of the suite is so: its contracts, ports and names."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gateway import endpoints
from gateway import settings as edge
from gateway.mcp import endpoint as mcp
from tests.k8s.manifests import Object, built, of_kind, title
from tests.k8s.settings import READ, deployments, environment

ROOT = Path(__file__).parents[2]
ALL = "tests/everything"


def routes() -> list[Object]:
    return [each for kind in ("HTTPRoute", "GRPCRoute") for each in of_kind(ALL, kind).values()]


def test_each_service_is_measured_by_one_port() -> None:
    (monitor,) = of_kind(ALL, "ServiceMonitor").values()
    port = monitor["spec"]["endpoints"][0]["port"]
    labels = monitor["spec"]["selector"]["matchLabels"].items()

    found = [
        each["spec"]["selector"]["app.kubernetes.io/name"]
        for each in of_kind(ALL, "Service").values()
        if labels <= each["metadata"].get("labels", {}).items()
        and port in {part["name"] for part in each["spec"]["ports"]}
    ]

    assert sorted(found) == sorted(READ)


def test_the_readmes_commands_make_rules_of_the_operators_of_all_there_are(tmp_path: Path) -> None:
    text = (ROOT / "k8s/README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(for rules in .*?)```", text, re.DOTALL)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\ncat >> {tmp_path}/applied; echo --- >> {tmp_path}/applied\n")
    kubectl.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"

    subprocess.run(["sh", "-ec", commands], cwd=ROOT, env={"PATH": path}, check=True, timeout=20)

    applied = [
        each
        for each in yaml.safe_load_all((tmp_path / "applied").read_text(encoding="utf-8"))
        if each
    ]
    assert {each["kind"] for each in applied} == {"PrometheusRule"}
    assert [each["spec"] for each in sorted(applied, key=title)] == [
        yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in sorted((ROOT / "ops/rules").glob("*.yaml"))
    ]


def test_the_way_in_for_grpc_leads_to_every_service_of_the_contracts() -> None:
    declared = set()
    for path in (ROOT / "protos/runplane").rglob("*.proto"):
        text = path.read_text(encoding="utf-8")
        package = re.findall(r"^package ([\w.]+);", text, re.MULTILINE)[0]
        names = re.findall(r"^service (\w+) \{", text, re.MULTILINE)
        backend = package.split(".")[1].replace("_", "-")
        declared |= {(f"{package}.{each}", backend) for each in names}

    (route,) = of_kind(ALL, "GRPCRoute").values()
    led = {
        (match["method"]["service"], rule["backendRefs"][0]["name"])
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }

    assert led == declared


def test_the_ways_in_lead_to_ports_that_are_there() -> None:
    ports = {
        (name, port["port"])
        for name, each in of_kind(ALL, "Service").items()
        for port in each["spec"]["ports"]
    }

    led = {
        (backend["name"], backend["port"])
        for each in routes()
        for rule in each["spec"]["rules"]
        for backend in rule["backendRefs"]
    }

    assert led
    assert led <= ports


def test_no_way_in_ends_a_stream_before_the_edge_does() -> None:
    (route,) = of_kind(ALL, "HTTPRoute").values()
    longest = edge.DeadlineSettings().maximum.total_seconds()
    ends = longest * endpoints._LONGER + endpoints._MARGIN + endpoints.STALL

    allowed = {
        seconds(rule["timeouts"][kind])
        for rule in route["spec"]["rules"]
        for kind in ("request", "backendRequest")
        if "matches" not in rule
    }

    assert min(allowed) > ends


def test_who_listens_by_mcp_may_do_so_for_ever() -> None:
    (route,) = of_kind(ALL, "HTTPRoute").values()

    (rule,) = (each for each in route["spec"]["rules"] if "matches" in each)

    assert rule["matches"] == [{"path": {"type": "Exact", "value": mcp.PATH}}]
    assert set(rule["timeouts"].values()) == {"0s"}


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_the_certificate_is_for_the_names_that_the_ways_in_have() -> None:
    (certificate,) = of_kind(ALL, "Certificate").values()
    (way_in,) = of_kind(ALL, "Gateway").values()
    listeners = {each["name"]: each for each in way_in["spec"]["listeners"]}

    names = sorted(each["hostname"] for each in listeners.values())

    assert certificate["spec"]["dnsNames"] == sorted(names, key=len)
    assert {each["tls"]["certificateRefs"][0]["name"] for each in listeners.values()} == {
        certificate["spec"]["secretName"]
    }
    for route in routes():
        listener = listeners[route["spec"]["parentRefs"][0]["sectionName"]]
        assert route["spec"]["hostnames"] == [listener["hostname"]]


def test_the_edge_answers_to_the_name_that_its_way_in_has() -> None:
    things = built(ALL)
    (route,) = of_kind(ALL, "HTTPRoute").values()

    allowed = environment(things, deployments(things)["gateway"])["GATEWAY_ALLOWED_HOSTS"]

    assert route["spec"]["hostnames"][0] in allowed.split(",")


def test_the_pool_is_the_inference_pods_and_their_port() -> None:
    (pool,) = of_kind(ALL, "InferencePool").values()
    template = deployments(built(ALL))["inference"]["spec"]["template"]

    ports = {each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}

    assert pool["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert {each["number"] for each in pool["spec"]["targetPorts"]} <= ports


def test_the_pools_picker_reads_how_busy_the_pods_are() -> None:
    (pool,) = of_kind(ALL, "InferencePool").values()
    policy = of_kind(ALL, "NetworkPolicy")["inference"]

    let_in = [
        rule["ports"]
        for rule in policy["spec"]["ingress"]
        for source in rule["from"]
        if source.get("podSelector", {}).get("matchLabels")
        == {"inferencepool": pool["spec"]["endpointPickerRef"]["name"]}
    ]

    assert let_in == [[{"port": "admin"}]]


@pytest.mark.parametrize(("name", "gpus"), [("tests/gpu", 1), ("tests/gpu-tensor-parallel", 2)])
def test_a_pod_has_as_many_gpus_as_its_process_computes_on(name: str, gpus: int) -> None:
    things = built(name)
    inference = deployments(things)["inference"]
    arguments = environment(things, inference).get("INFERENCE_VLLM__ARGUMENTS", "{}")

    limits = inference["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]

    assert limits["nvidia.com/gpu"] == gpus
    assert json.loads(arguments).get("tensor_parallel_size", 1) == gpus


def test_every_service_sends_its_traces_to_the_collector() -> None:
    things = built(ALL)
    collector = of_kind(ALL, "Service")["otel-collector"]

    told = {
        name: environment(things, each).get("OTEL_EXPORTER_OTLP_ENDPOINT")
        for name, each in deployments(things).items()
    }

    port = collector["spec"]["ports"][0]["port"]
    assert told == dict.fromkeys(READ, f"http://otel-collector:{port}")
