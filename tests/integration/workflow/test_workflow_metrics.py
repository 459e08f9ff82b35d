"""What the workflow service says of itself."""

import asyncio

import httpx2

from services.chassis.eventbus.aliases import aliased_event_bus
from services.workflow.app import running
from services.workflow.settings import Settings
from tests.integration.workflow.world import LOOPBACK, SHARED

NAMES = {
    "runplane_workflow_inbound_dead_letters_total",
    "runplane_workflow_inbound_lag_messages",
    "runplane_workflow_verification_failures_total",
    "runplane_workflow_verified_total",
    "runplane_workflow_broken",
    'runplane_workflow_verification_problems_total{kind="EVENT_CHANGED"}',
    'runplane_workflow_verification_repairs_total{kind="PROJECTION_DIFFERS"}',
}


async def test_backlogs_and_what_the_verifier_found_are_metrics() -> None:
    async with (
        asyncio.timeout(20),
        aliased_event_bus("memory:", {}) as bus,
        running(Settings(server=LOOPBACK), SHARED, bus=bus) as server,
        httpx2.AsyncClient() as client,
    ):
        page = (await client.get(f"http://{server.admin}/metrics")).text

    figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert {*figures} >= NAMES
    assert {figures[name] for name in NAMES} == {"0.0"}
