"""What the edge measures, as its admin port shows it."""

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from gateway.metrics import DURATION, IN_FLIGHT
from services.chassis.errors import Unavailable
from tests.integration.gateway.fakes import Suite

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def samples(edge: Suite, name: str) -> dict[tuple[str, ...], float]:
    """By route, method and status."""
    async with httpx2.AsyncClient() as client:
        page = (await client.get(f"http://{edge.edge.admin}/metrics")).text
    labels = ("route", "method", "status")
    return {
        tuple(each.labels[label] for label in labels if label in each.labels): each.value
        for family in families(page)
        for each in family.samples
        if each.name == name
    }


async def test_requests_are_counted_by_the_template_of_their_route(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    before = await samples(edge, f"{DURATION}_count")
    for name in ("one", "two"):
        await http.get(f"/v1/tools/{name}")
    await http.get("/healthz")

    after = await samples(edge, f"{DURATION}_count")

    new = {key: number - before.get(key, 0) for key, number in after.items()}
    assert new["/healthz", "GET", "200"] == 1
    of_tools = {key: number for key, number in new.items() if key[0] == "/v1/tools/{name}"}
    assert sum(of_tools.values()) == 2


async def test_whatever_paths_and_methods_are_made_up_they_are_others(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    for number in range(20):
        await http.request("GET", f"/v1/no-such-{number}?secret=hunter2")
    for method in ("PROPFIND", "MKCOL", "LOCK"):
        await http.request(method, "/no/such")

    counts = await samples(edge, f"{DURATION}_count")

    unknown = {key for key in counts if key[0] == "other"}
    assert unknown == {("other", "other", "404"), ("other", "GET", "404")}
    assert not [key for key in counts if "no-such" in key[0]]


async def test_nothing_is_under_way_when_nobody_asks(edge: Suite, http: httpx2.AsyncClient) -> None:
    await http.get("/healthz")

    under_way = await samples(edge, IN_FLIGHT)

    assert set(under_way.values()) == {0}


async def test_a_stream_that_fails_in_the_middle_counts_as_what_it_failed_with(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    key = ("/v1/agent/stream", "POST", "503")
    before = await samples(edge, f"{DURATION}_count")
    edge.script.error, edge.script.error_after = Unavailable("ENGINE_FAILED", "gone"), 2

    await http.post("/v1/agent/stream", json={"query": "x"})

    after = await samples(edge, f"{DURATION}_count")
    assert after.get(key, 0) - before.get(key, 0) == 1
