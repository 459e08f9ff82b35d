"""Writes `dashboards/*.json` for Grafana from the panels below: `python ops/generate.py`."""

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("dashboards")
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 12
HEIGHT: Final = 8

EDGE: Final = "runplane_edge_request_duration_seconds"
RPC: Final = "runplane_rpc_duration_seconds"
MCP: Final = "mcp_server_operation_duration_seconds"
STORE: Final = "runplane_event_store"
TURNS: Final = "gen_ai_client_inference_duration_seconds"

Panel = tuple[str, str, str, str]
"""Title, expression, legend, unit."""


def quantile(share: float, metric: str, by: str) -> str:
    """An expression for what so many observations were at most."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket[5m])))"


def rate(metric: str, by: str) -> str:
    """An expression for how many a second."""
    return f"sum by ({by}) (rate({metric}[5m]))"


MODEL: Final = "gen_ai_request_model"
WORKFLOW: Final = "gen_ai_workflow_name"
TOOL: Final = "gen_ai_tool_name"
TOOLS: Final = "gen_ai_execute_tool_duration_seconds"

DASHBOARDS: Final[dict[str, list[Panel]]] = {
    "overview": [
        ("Requests", rate(f"{EDGE}_count", "status"), "{{status}}", "reqps"),
        ("Errors of 5xx", "runplane:edge_errors:ratio_rate5m", "errors", "percentunit"),
        ("RPCs", rate(f"{RPC}_count", "rpc_service"), "{{rpc_service}}", "reqps"),
        ("RPCs that failed", rate(f'{RPC}_count{{code!="OK"}}', "code"), "{{code}}", "reqps"),
        ("Tasks", rate("runplane_orchestrator_task_states_total", "state"), "{{state}}", "ops"),
        ("Tokens", rate("runplane_inference_tokens_total", "kind"), "{{kind}}", "ops"),
        (
            "Cost an hour",
            "sum(rate(runplane_orchestrator_cost_usd_total[5m])) * 3600",
            "USD",
            "none",
        ),
        (
            "RPCs under way",
            "sum(runplane_rpc_in_flight) by (rpc_service)",
            "{{rpc_service}}",
            "none",
        ),
        (
            "Append, p99",
            quantile(0.99, f"{STORE}_append_duration_seconds", "store"),
            "{{store}}",
            "s",
        ),
        (
            "Changes a commit, p95",
            quantile(0.95, f"{STORE}_commit_changes", "store"),
            "{{store}}",
            "none",
        ),
    ],
    "agents": [
        (
            "Duration, p95",
            quantile(0.95, "gen_ai_invoke_agent_duration_seconds", "state"),
            "{{state}}",
            "s",
        ),
        (
            "Turns, p95",
            quantile(0.95, "gen_ai_invoke_agent_inference_calls", "state"),
            "{{state}}",
            "none",
        ),
        ("Running", "runplane_orchestrator_tasks_running", "{{instance}}", "none"),
        ("Queued", "runplane_orchestrator_tasks_queued", "{{instance}}", "none"),
        ("Places", "runplane_orchestrator_task_slots", "{{instance}}", "none"),
        ("Longest wait", "runplane_orchestrator_queue_wait_seconds", "{{instance}}", "s"),
        (
            "Tool results",
            rate("runplane_orchestrator_tool_results_total", "outcome"),
            "{{outcome}}",
            "ops",
        ),
        ("Tools, p95", quantile(0.95, TOOLS, TOOL), "{{gen_ai_tool_name}}", "s"),
        (
            "Time in a state, p95",
            quantile(0.95, "runplane_orchestrator_task_state_duration_seconds", "state"),
            "{{state}}",
            "s",
        ),
        (
            "Calls of tools, p95",
            quantile(0.95, "gen_ai_invoke_agent_tool_calls", "state"),
            "{{state}}",
            "none",
        ),
        ("Turns of models, p95", quantile(0.95, TURNS, MODEL), f"{{{{{MODEL}}}}}", "s"),
        (
            "Turns that failed",
            rate(f'{TURNS}_count{{error_type!=""}}', "error_type"),
            "{{error_type}}",
            "ops",
        ),
        ("Fallbacks", rate("runplane_orchestrator_fallbacks_total", "reason"), "{{reason}}", "ops"),
        ("Cache hits", rate("runplane_orchestrator_cache_hits_total", "where"), "{{where}}", "ops"),
        ("Tools not tried", "runplane_tool_registry_circuits", "{{state}}", "none"),
        ("Replicas left out", "runplane_orchestrator_inference_out", "{{replica}}", "none"),
    ],
    "inference": [
        (
            "Time to first token, p95",
            quantile(0.95, "gen_ai_server_time_to_first_token_seconds", MODEL),
            f"{{{{{MODEL}}}}}",
            "s",
        ),
        (
            "Generations, p95",
            quantile(0.95, "gen_ai_server_request_duration_seconds", MODEL),
            f"{{{{{MODEL}}}}}",
            "s",
        ),
        (
            "Queue, p95",
            quantile(0.95, "runplane_inference_queue_seconds", MODEL),
            f"{{{{{MODEL}}}}}",
            "s",
        ),
        (
            "Tokens a second, median",
            quantile(0.5, "runplane_inference_tokens_per_second", MODEL),
            f"{{{{{MODEL}}}}}",
            "none",
        ),
        ("Running", "vllm:num_requests_running", "{{model_name}}", "none"),
        ("Waiting", "vllm:num_requests_waiting", "{{model_name}}", "none"),
        ("Slots", "runplane_inference_slots", "{{model_name}}", "none"),
        (
            "A token after the first, p95",
            quantile(0.95, "gen_ai_server_time_per_output_token_seconds", MODEL),
            f"{{{{{MODEL}}}}}",
            "s",
        ),
        ("Cannot be loaded", "runplane_inference_model_failed", "{{model_name}}", "none"),
        ("Tokens", rate("runplane_inference_tokens_total", f"{MODEL}, kind"), "{{kind}}", "ops"),
        ("Batch items", "runplane_inference_batch_items_running", "{{instance}}", "none"),
    ],
    "workflows": [
        ("Transitions", "sum(rate(runplane_workflow_transitions_total[5m]))", "a second", "ops"),
        ("Phases", rate("runplane_workflow_phases_total", "phase"), "{{phase}}", "ops"),
        ("Outbox", "runplane_workflow_outbox_messages", "{{topic}}", "none"),
        ("Inbound lag", "runplane_workflow_inbound_lag_messages", "{{instance}}", "none"),
        (
            "Set aside",
            "increase(runplane_workflow_inbound_dead_letters_total[1h])",
            "{{instance}}",
            "none",
        ),
        (
            "Duration, p95",
            quantile(0.95, "gen_ai_invoke_workflow_duration_seconds", WORKFLOW),
            f"{{{{{WORKFLOW}}}}}",
            "s",
        ),
        ("Running", "runplane_workflow_running", "{{instance}}", "none"),
        ("Slots", "runplane_workflow_slots", "{{instance}}", "none"),
        ("Waiting", "max(runplane_workflow_waiting)", "for anybody", "none"),
        (
            "Problems found",
            "increase(runplane_workflow_verification_problems_total[1h])",
            "{{kind}}",
            "none",
        ),
        ("Broken", "runplane_workflow_broken", "{{instance}}", "none"),
    ],
    "edge": [
        ("Requests", rate(f"{EDGE}_count", "route"), "{{route}}", "reqps"),
        ("p50", quantile(0.5, EDGE, "route"), "{{route}}", "s"),
        ("p99", quantile(0.99, EDGE, "route"), "{{route}}", "s"),
        ("Statuses", rate(f"{EDGE}_count", "status"), "{{status}}", "reqps"),
        ("Under way", "sum(runplane_edge_requests_in_flight) by (kind)", "{{kind}}", "none"),
        ("Errors of 5xx", "runplane:edge_errors:ratio_rate1h", "an hour", "percentunit"),
        ("MCP", rate(f"{MCP}_count", "mcp_method_name"), "{{mcp_method_name}}", "reqps"),
        ("MCP, p95", quantile(0.95, MCP, "mcp_method_name"), "{{mcp_method_name}}", "s"),
        (
            "MCP that failed",
            rate(f'{MCP}_count{{error_type!=""}}', "error_type"),
            "{{error_type}}",
            "reqps",
        ),
    ],
}


def panel(number: int, of: Panel) -> dict[str, Any]:
    """One panel; two stand in a row."""
    title, expression, legend, unit = of
    place = {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT}
    target = {"refId": "A", "expr": expression, "legendFormat": legend, "exemplar": True}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{**target, "datasource": SOURCE}],
    }


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard."""
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"runplane-{name}",
        "title": f"Runplane: {name}",
        "tags": ["runplane"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [panel(number, each) for number, each in enumerate(DASHBOARDS[name])],
    }


def files() -> dict[str, str]:
    """Each file's text, by its name."""
    return {f"{name}.json": json.dumps(dashboard(name), indent=2) + "\n" for name in DASHBOARDS}


if __name__ == "__main__":
    for file, text in files().items():
        (FOLDER / file).write_text(text)
