"""What a whole suite measures, whatever it is asked for."""

import asyncio

from services.chassis.histograms import MOST
from tests.integration.suite.measured import Suite, called_over_mcp, suite, used

HOSTILE = "hunter2"
"""In every name that is made up."""
TIMES = 12


async def _hostile(running: Suite, first: int = 0) -> None:
    for number in range(first, first + TIMES):
        name = f"{HOSTILE}-{number}"
        metadata = {"runplane-tenant": name, "x-request-id": name}
        await asyncio.gather(
            running.http.post("/v1/agent/invoke", json={"query": name, "model": name}),
            running.http.post("/v1/agent/invoke", json={"query": name, "agent_id": name}),
            running.http.post("/v1/inference/generate", json={"model": name}, headers=metadata),
            running.http.post(f"/v1/tools/{name}:call", json={"input": {name: name}}),
            running.http.post("/v1/workflows", json={"definition": name}),
            running.http.get(f"/v1/tasks/task_{name}", headers=metadata),
            running.http.get(f"/{name}/{name}?{name}={name}"),
            running.http.post("/v1/events", json={"event_type": name, "payload": {}}),
            running.http.post("/mcp", json={"jsonrpc": "2.0", "id": name, "method": name}),
            called_over_mcp(running, name, {name: name}),
        )


COUNTED = {
    ("runplane_orchestrator_task_states_total", "completed"): 1,
    ("gen_ai_invoke_agent_duration_seconds_count", "completed"): 1,
    ("runplane_orchestrator_tool_results_total", "success"): 1,
    ("gen_ai_execute_tool_duration_seconds_count", "calculator", "success"): 3,
    ("gen_ai_server_time_to_first_token_seconds_count", "echo"): 2,
    ("runplane_workflow_phases_total", "active"): 1,
    ("gen_ai_invoke_workflow_duration_seconds_count", "signed", "completed"): 1,
    ("runplane_workflow_running",): 0,
    ("mcp_server_operation_duration_seconds_count", "tools/call", ""): 1,
    ("runplane_orchestrator_task_state_duration_seconds_count", "running"): 1,
    ("gen_ai_client_inference_duration_seconds_count", "echo", ""): 2,
    ("gen_ai_client_inference_operation_input_tokens_count", "echo"): 2,
    ("gen_ai_invoke_agent_tool_calls_sum", "completed"): 1,
    ("runplane_edge_request_duration_seconds_count", "/v1/agent/invoke", "POST", "200"): 1,
}


async def test_what_a_suite_did_is_counted() -> None:
    async with asyncio.timeout(60), suite() as running:
        await used(running)
        shown = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for families in (await running.shown()).values()
            for family in families
            for sample in family.samples
        }

    counts = {key: shown.get((key[0], *sorted(key[1:]))) for key in COUNTED}
    assert counts == COUNTED


async def test_no_label_has_a_value_that_somebody_made_up() -> None:
    async with asyncio.timeout(60), suite() as running:
        await used(running)
        await _hostile(running)
        pages = [await running.page(each) for each in running.services]

    assert [page for page in pages if HOSTILE in page] == []


async def test_other_odd_things_that_are_asked_for_add_no_more_series() -> None:
    async with asyncio.timeout(60), suite() as running:
        await used(running)
        await _hostile(running)
        before = {name: len(page) for name, page in (await series(running)).items()}
        await _hostile(running, TIMES)
        after = {name: len(page) for name, page in (await series(running)).items()}

    assert before == after
    assert max(after.values()) < 20 * MOST


async def series(running: Suite) -> dict[str, set[tuple[str, ...]]]:
    """The label sets of each service."""
    return {
        name: {
            (sample.name, *map(str, sample.labels.items()))
            for family in families
            for sample in family.samples
        }
        for name, families in (await running.shown()).items()
    }
