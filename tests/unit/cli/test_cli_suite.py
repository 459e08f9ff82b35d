"""What a suite consists of."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.cli.suite import Options, Plan, planned, programs
from tests.servers.ports import SUITE, reserved

PLAN = Plan(
    "127.0.0.1",
    8080,
    {"orchestrator": 1, "inference": 2, "tool_registry": 3},
    {"orchestrator": 4, "inference": 5, "tool_registry": 6, "gateway": 7},
)
ECHO = Options("echo", None, "warning", "00ff", timedelta(seconds=10))


def environment(name: str, options: Options = ECHO, plan: Plan = PLAN) -> dict[str, str]:
    """What a program is told."""
    return dict(next(each.environment for each in programs(plan, options) if each.name == name))


def test_programs_come_in_the_order_of_their_needs() -> None:
    names = [each.name for each in programs(PLAN, ECHO)]

    assert names == ["inference", "tool_registry", "orchestrator", "gateway"]


def test_each_program_runs_its_own_module_in_this_python() -> None:
    modules = {each.name: each.command[-1] for each in programs(PLAN, ECHO)}

    assert modules["gateway"] == "gateway"
    assert modules["tool_registry"] == "services.tool_registry"
    assert {each.command[0] for each in programs(PLAN, ECHO)} == {sys.executable}


def test_each_program_is_asked_whether_it_is_ready_where_it_says_so() -> None:
    for each in programs(PLAN, ECHO):
        name = "GATEWAY_ADMIN" if each.name == "gateway" else f"{each.name.upper()}_SERVER__ADMIN"

        assert each.environment[name] == f"127.0.0.1:{PLAN.admin[each.name]}"
        assert each.admin == ("127.0.0.1", PLAN.admin[each.name])


def test_callers_know_where_the_called_listen() -> None:
    gateway, orchestrator = environment("gateway"), environment("orchestrator")

    assert gateway["GATEWAY_ORCHESTRATOR__TARGET"] == "127.0.0.1:1"
    assert orchestrator["ORCHESTRATOR_SERVER__LISTEN"] == "127.0.0.1:1"
    assert orchestrator["ORCHESTRATOR_INFERENCE__TARGET"] == "127.0.0.1:2"
    assert environment("inference")["INFERENCE_SERVER__LISTEN"] == "127.0.0.1:2"
    assert orchestrator["ORCHESTRATOR_TOOL_REGISTRY__TARGET"] == "127.0.0.1:3"


@pytest.mark.parametrize(
    ("engine", "scheduling"), [("llamacpp", "normal"), ("vllm", "normal"), ("echo", "batch")]
)
def test_beside_an_embedded_model_no_process_waits_for_its_time_slice(
    engine: str, scheduling: str
) -> None:
    found = programs(PLAN, Options(engine, None, "info"))

    assert {each.environment["RUNPLANE_SCHEDULING"] for each in found} == {scheduling}


def test_all_share_a_key_and_a_log_level() -> None:
    for each in programs(PLAN, ECHO):
        assert each.environment["RUNPLANE_PAGE_TOKEN_KEY"] == ECHO.page_token_key
        assert each.environment["RUNPLANE_LOG__LEVEL"] == "warning"


def test_tools_may_be_sent_to_this_machine_unless_something_else_is_said() -> None:
    chosen = replace(ECHO, egress="10.0.0.0/8")

    assert environment("tool_registry")["TOOL_REGISTRY_EGRESS__ALLOW"] == "127.0.0.0/8,::1"
    assert environment("tool_registry", chosen)["TOOL_REGISTRY_EGRESS__ALLOW"] == "10.0.0.0/8"


def test_tools_are_not_sent_to_the_suites_own_ports() -> None:
    denied = environment("tool_registry")["TOOL_REGISTRY_EGRESS__DENY"].split(",")

    assert set(denied) == {
        f"127.0.0.1:{port}" for port in (*PLAN.grpc.values(), *PLAN.admin.values())
    }


def test_an_object_store_is_told_where_one_was_chosen() -> None:
    chosen = replace(ECHO, object_store="file:///values")

    assert environment("orchestrator", chosen)["RUNPLANE_OBJECT_STORE"] == "file:///values"
    assert "RUNPLANE_OBJECT_STORE" not in environment("orchestrator")


def test_the_orchestrator_finds_the_routes_from_anywhere() -> None:
    chosen = environment("orchestrator", replace(ECHO, routes=Path("routes.yaml")))

    assert chosen["ORCHESTRATOR_ROUTES"] == str(Path("routes.yaml").resolve())
    assert "ORCHESTRATOR_ROUTES" not in environment("orchestrator")


def test_all_know_the_event_bus_that_was_chosen() -> None:
    chosen = replace(ECHO, event_bus="kafka://127.0.0.1:9092")

    assert environment("orchestrator")["RUNPLANE_EVENT_BUS"] == "memory:"
    assert environment("orchestrator", chosen)["RUNPLANE_EVENT_BUS"] == "kafka://127.0.0.1:9092"


def test_only_the_edge_leaves_the_machine() -> None:
    wide = Plan("0.0.0.0", PLAN.edge, PLAN.grpc, PLAN.admin)  # noqa: S104
    listening = [
        value
        for each in programs(wide, ECHO)
        for name, value in each.environment.items()
        if name.endswith(("LISTEN", "ADMIN"))
    ]

    assert [value for value in listening if not value.startswith("127.0.0.1:")] == ["0.0.0.0:8080"]


def test_an_engine_and_its_model_are_told_to_inference_alone(tmp_path: Path) -> None:
    options = Options("llamacpp", str(tmp_path / "a.gguf"), "info")

    assert environment("inference")["INFERENCE_ENGINE"] == "echo"
    assert environment("inference", options)["INFERENCE_LLAMACPP__MODEL_PATH"] == str(
        tmp_path / "a.gguf"
    )
    assert "INFERENCE_LLAMACPP__MODEL_PATH" not in environment("inference")
    assert not any("MODEL" in name for name in environment("gateway", options))


def test_a_model_on_a_hub_keeps_its_name_and_a_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)

    told = [
        environment("inference", Options("vllm", model, "info"))["INFERENCE_VLLM__MODEL"]
        for model in ("owner/name", "model")
    ]

    assert told == ["owner/name", str(tmp_path / "model")]


def test_the_graces_of_all_fit_into_that_of_the_suite() -> None:
    graces = [
        float(value)
        for each in programs(PLAN, ECHO)
        for name, value in each.environment.items()
        if name.endswith("GRACE")
    ]

    assert len(graces) == 4
    assert sum(graces) < 10


def test_services_listen_next_to_the_edge_where_they_can() -> None:
    with reserved(SUITE) as edge:
        plan = planned("127.0.0.1", edge)

    ports = [plan.edge, *plan.grpc.values(), *plan.admin.values()]
    assert sorted(ports) == list(range(edge, edge + SUITE))


def test_a_suite_at_the_last_port_has_room_too() -> None:
    plan = planned("127.0.0.1", 65_535)

    assert all(0 < port < 65_535 for port in plan.grpc.values())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_the_url_is_one_that_works_on_this_machine(host: str, url: str) -> None:
    assert Plan(host, 8080, {}, {}).url == url


@pytest.mark.parametrize(
    ("host", "chosen", "allowed"),
    [
        ("127.0.0.1", None, "true"),
        ("::1", None, "true"),
        ("localhost", None, "true"),
        ("0.0.0.0", None, "false"),  # noqa: S104 - a name, not a place to listen
        ("192.168.1.2", None, "false"),
        ("example", None, "false"),
        ("192.168.1.2", True, "true"),
        ("127.0.0.1", False, "false"),
    ],
)
def test_mcp_servers_are_programs_where_only_this_machine_registers_them(
    host: str, chosen: bool | None, allowed: str
) -> None:
    plan, options = replace(PLAN, host=host), replace(ECHO, has_programs=chosen)

    (registry,) = [each for each in programs(plan, options) if each.name == "tool_registry"]
    assert registry.environment["TOOL_REGISTRY_MCP__STDIO"] == allowed
