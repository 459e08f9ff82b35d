"""Labels and vectors of texts through the whole suite."""

import math

import httpx2
import pytest

LABELS = ["POSITIVE", "NEGATIVE"]


def test_a_classification_answers_in_its_shape(http: httpx2.Client) -> None:
    reply = http.post("/v1/inference/classify", json={"input": "Very positive.", "labels": LABELS})

    body = reply.json()
    assert (reply.status_code, body["status"]) == (200, "completed")
    assert body["id"].startswith("req_")
    assert [each["label"] for each in body["results"]] == LABELS
    assert [set(each) for each in body["results"]] == [{"label", "score", "confidence"}] * 2
    assert {"latency_ms", "tokens_per_second"} <= set(body["metrics"])
    assert "gpu_utilization" not in body["metrics"]
    assert {"model_version", "timestamp"} <= set(body["metadata"])


def test_a_batch_tells_the_failure_of_each_text(http: httpx2.Client) -> None:
    asked = {"inputs": ["negative", "fail"], "labels": LABELS}

    body = http.post("/v1/inference/classify:batch", json=asked).json()

    good, bad = body["items"]
    assert (body["status"], body["completed"], body["failed"]) == ("partial", 1, 1)
    assert (good["index"], good["results"][0]["label"]) == (0, "NEGATIVE")
    assert "error" not in good
    assert (bad["status"], bad["error"]["error_code"]) == ("failed", "ENGINE_FAILED")


def test_an_embedding_answers_in_its_shape(http: httpx2.Client) -> None:
    body = http.post("/v1/inference/embed", json={"inputs": ["the sea", "a whale"]}).json()

    assert [each["index"] for each in body["embeddings"]] == [0, 1]
    lengths = [math.hypot(*each["values"]) for each in body["embeddings"]]
    assert lengths == pytest.approx([1.0, 1.0], abs=1e-6)
    assert {"metrics", "metadata"} <= set(body)


def test_what_is_refused_names_the_field(http: httpx2.Client) -> None:
    reply = http.post("/v1/inference/classify", json={"input": "x", "labels": ["a", "a"]})

    body = reply.json()
    assert (reply.status_code, body["error_code"]) == (400, "INVALID_REQUEST")
    assert "labels[1]" in body["message"]
    assert body["suggested_fix"]


def test_a_real_model_classifies(real: httpx2.Client) -> None:
    asked = {"input": "I love it!", "labels": ["good", "good enough", "bad"]}

    body = real.post("/v1/inference/classify", json=asked).json()

    scores = [each["score"] for each in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert abs(math.fsum(scores) - 1) <= 1e-9
