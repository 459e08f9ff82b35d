"""`runplane up --engine openai` over llama.cpp's own HTTP server."""

from pathlib import Path

import httpx2
import pytest

from tests.contract.inference.llamacpp_server import KEY, started, url
from tests.e2e.running import outcome, suite
from tests.servers.ports import SUITE, free


@pytest.fixture(scope="module")
def upstream() -> object:
    """A server with two slots."""
    return started(2, 2_048)


def arguments(upstream: object, key_file: Path) -> list[str]:
    named = ["--upstream", url(upstream), "--upstream-model", "smollm2"]
    named += ["--upstream-dialect", "llamacpp", "--upstream-key-file", str(key_file)]
    return ["--engine", "openai", *named]


def test_a_suite_answers_by_an_upstream(upstream: object, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    with suite(tmp_path, *arguments(upstream, key_file)) as running:
        said = [{"role": "user", "content": "Say hello."}]
        asked = {"messages": said, "sampling": {"max_tokens": 4}}
        reply = httpx2.post(f"{running.url}/v1/inference/generate", json=asked, timeout=60).json()
        models = httpx2.get(f"{running.url}/v1/models", timeout=10).json()["models"]

    assert reply["metadata"]["model"] == "smollm2"
    assert 0 < reply["usage"]["completion_tokens"] <= 4
    assert [(model["name"], model["engine"]) for model in models] == [("smollm2", "openai")]


def test_a_key_that_is_refused_is_one_line(upstream: object, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("sk-wrong")
    state = ["--port", str(free(SUITE)), "--state", str(tmp_path / "state")]

    code, out, err = outcome("up", *arguments(upstream, key_file), *state)

    assert code == 1
    assert "INFERENCE_OPENAI__API_KEY" in err
    assert "sk-wrong" not in out + err
    assert "Traceback" not in out + err
