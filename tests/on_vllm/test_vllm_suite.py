"""Tasks through edge, orchestrator and inference, on vLLM."""

import json
from collections.abc import Iterator

import httpx2
import psutil
import pytest

from tests.contract.inference.engines import ON_A_CPU
from tests.e2e.running import Suite, suite, until
from tests.e2e.streams import asked
from tests.e2e.test_suite_model import check_told
from tests.on_vllm.inputs import MODEL

START_SECONDS = 110
PLAIN_ANSWER = {"tool_choice": "none", "sampling": {"seed": 1, "max_tokens": 400}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """As `runplane up --engine vllm` starts it."""
    folder = tmp_path_factory.mktemp("vllm")
    arguments = ("--engine", "vllm", "--model", str(MODEL))
    chosen = json.dumps(ON_A_CPU)
    with suite(
        folder, *arguments, seconds=START_SECONDS, INFERENCE_VLLM__ARGUMENTS=chosen
    ) as suite_:
        yield suite_


@pytest.fixture(scope="module")
def http(running: Suite) -> Iterator[httpx2.Client]:
    """A client of its edge."""
    with httpx2.Client(base_url=running.url, timeout=60) as client:
        yield client


def generated(http: httpx2.Client) -> httpx2.Response:
    request = {"messages": [{"role": "user", "content": "Hi"}], "sampling": {"max_tokens": 2}}
    return http.post("/v1/inference/generate", json=request)


def test_a_task_is_told_from_start_to_end(http: httpx2.Client) -> None:
    said = [each.said for each in asked(http, "Who wrote Hamlet?", **PLAIN_ANSWER)]

    types = [each["type"] for each in said]
    check_told(said)
    assert types.count("message_delta") > 1


def test_tools_are_called_as_the_schema_has_it(http: httpx2.Client) -> None:
    said = [each.said for each in asked(http, "What is 12*7?", sampling={"seed": 1})]

    calls = [each["tool_call_id"] for each in said if each["type"] == "tool_call"]
    results = [each["tool_call_id"] for each in said if each["type"] == "tool_result"]
    check_told(said)
    assert sorted(calls) == sorted(results)


def test_the_model_says_what_it_can_do(http: httpx2.Client) -> None:
    model = http.get("/v1/models").json()["models"][0]

    assert (model["name"], model["engine"]) == ("smollm2-135m-instruct", "vllm")
    assert {"generate", "continue", "schema", "classify"} <= set(model["capabilities"])


def test_a_suite_whose_engine_died_gets_another(running: Suite, http: httpx2.Client) -> None:
    before = running.run["pids"]["inference"]
    for each in psutil.Process(before).children(recursive=True):
        if "VLLM" in each.name():
            each.kill()
    until(lambda: running.run["pids"]["inference"] != before, seconds=START_SECONDS)

    reply = generated(http)

    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] <= 2
