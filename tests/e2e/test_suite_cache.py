"""The response cache through the whole suite."""

import os
import signal
from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.running import Suite, outcome, suite, until
from tests.e2e.streams import asked
from tests.servers.redis import Redis, redis

CACHED = {"ORCHESTRATOR_CACHE__ENABLED": "true"}
INVOKE = "/v1/agent/invoke"


@pytest.fixture(scope="module")
def shared() -> Iterator[Redis]:
    """A Redis, which outlives what is put into it."""
    with redis() as server:
        yield server


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory, shared: Redis) -> Iterator[Suite]:
    """A suite that has a cache."""
    line = ("--engine", "echo", "--hot-store", shared.url)
    with suite(tmp_path_factory.mktemp("caching"), *line, **CACHED) as running:
        yield running


@pytest.fixture
def edge(caching: Suite) -> Iterator[httpx2.Client]:
    """A client of its edge, once all serve."""
    with httpx2.Client(base_url=caching.url, timeout=20) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def is_cached(edge: httpx2.Client, query: str, **headers: str) -> bool:
    """Whether a query is answered from the cache; it is answered."""
    reply = edge.post(INVOKE, json={"query": query}, headers=headers).json()
    assert (reply["status"], reply["result"]) == ("completed", query), reply
    return bool(reply["metadata"]["cached"])


def test_the_header_says_what_may_come_from_the_cache(edge: httpx2.Client) -> None:
    words = ["", "", "no-store", "no-cache", "max-age=0", "max-age=60, no-transform"]

    cached = [
        is_cached(edge, "Hello", **({"cache-control": each} if each else {})) for each in words
    ]

    assert cached == [False, True, False, False, False, True]


def test_a_header_that_is_wrong_is_refused_and_names_the_fix(edge: httpx2.Client) -> None:
    reply = edge.post(INVOKE, json={"query": "x"}, headers={"cache-control": "max-age=soon"})

    said = reply.json()
    assert (reply.status_code, said["error_code"]) == (400, "INVALID_REQUEST")
    assert "max-age" in said["suggested_fix"]


def test_a_stream_is_replayed_as_a_stream_and_can_be_watched(edge: httpx2.Client) -> None:
    query = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
    first = [each.said for each in asked(edge, query)]
    again = [each.said for each in asked(edge, query)]

    watched = edge.get(again[0]["watch"], headers={"accept": "application/x-ndjson"}).text
    kinds = [list(dict.fromkeys(each["type"] for each in said)) for said in (first, again)]
    assert kinds[0] == kinds[1]
    assert "".join(each.get("text", "") for each in again) == "12*7 is 84."
    assert [each["cached"] for each in again if "usage" in each] == [True, True]
    assert again[-1]["metadata"]["cached"]
    assert again[-1]["metrics"]["tokens_used"] == 0
    assert len(watched.splitlines()) == len(again)


def test_what_was_kept_outlives_the_orchestrator(caching: Suite, edge: httpx2.Client) -> None:
    before = [is_cached(edge, "Lasting") for _ in range(2)]
    killed = caching.run["pids"]["orchestrator"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: caching.run["pids"]["orchestrator"] != killed)
    until(lambda: edge.get("/readyz").status_code == 200)

    assert before == [False, True]
    assert is_cached(edge, "Lasting")


def test_the_command_line_says_what_it_may_use_and_what_was_saved(caching: Suite) -> None:
    line = ("invoke", "--state", str(caching.state), "Terminal")
    outcome(*line)
    code, out, _ = outcome(*line, "--cache", "only-if-cached")
    refused = outcome(*line[:-1], "Never asked", "--cache", "only-if-cached")

    assert (code, "more from the cache" in out) == (0, True)
    assert (refused[0], "leave out only-if-cached" in refused[1]) == (1, True)
