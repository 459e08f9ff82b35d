"""What bad input gets through the whole suite: a clear 4xx, and nothing changed."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

INVOKE = "/v1/agent/invoke"
STREAM = "/v1/agent/stream"
CALL = "/v1/tools/calculator:call"
GENERATE = "/v1/inference/generate"
SHAPE = {
    "status",
    "code",
    "grpc_status",
    "error_code",
    "message",
    "schema_path",
    "suggested_fix",
    "details",
    "request_id",
    "trace_id",
}
JSON = {"Content-Type": "application/json"}
NESTED = b'{"a":'


@dataclass(frozen=True)
class Bad:
    """A request, and how it is refused."""

    path: str
    body: Any
    error_code: str
    at: str = ""
    code: int = 400
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes | None:
        """The body as it is sent."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


def query(**fields: object) -> dict[str, object]:
    """A query with something wrong about it."""
    return {"query": "Hello", **fields}


def free(number: bytes) -> bytes:
    """A tool call with a number in a free object."""
    return b'{"input": {"expression": [' + number + b"]}}"


def nested(depth: int) -> bytes:
    """Braces in braces."""
    return NESTED * depth + b"1" + b"}" * depth


def user(content: str) -> dict[str, object]:
    """A prompt."""
    return {"messages": [{"role": "user", "content": content}]}


WRONG = "INVALID_REQUEST"
NOT_JSON = "JSON_INVALID"
BEYOND = "input.expression[0]"
CASES = {
    "empty query": Bad(INVOKE, {"query": ""}, WRONG, "query"),
    "blank query": Bad(INVOKE, {"query": " \n"}, WRONG, "query"),
    "no query": Bad(INVOKE, {}, WRONG, "query"),
    "empty query of a stream": Bad(STREAM, {"query": ""}, WRONG, "query"),
    "query over the limit": Bad(INVOKE, {"query": "x" * 1_100_000}, WRONG, "query"),
    "unknown model": Bad(INVOKE, query(model="nope"), "MODEL_NOT_FOUND", "model", 404),
    "unknown model of a stream": Bad(STREAM, query(model="nope"), "MODEL_NOT_FOUND", "model", 404),
    "unknown model to generate": Bad(
        GENERATE, user("x") | {"model": "nope"}, "MODEL_NOT_FOUND", "model", 404
    ),
    "unknown model in a path": Bad(
        "/v1/models/nope", None, "MODEL_NOT_FOUND", "name", 404, method="GET"
    ),
    "unknown tool to use": Bad(INVOKE, query(tools=["nope"]), "TOOL_NOT_FOUND", "tools[0]", 404),
    "unknown tool in a path": Bad(
        "/v1/tools/nope", None, "TOOL_NOT_FOUND", "name", 404, method="GET"
    ),
    "unknown tool to call": Bad(
        "/v1/tools/nope:call", {"input": {}}, "TOOL_NOT_FOUND", "name", 404
    ),
    "argument of a wrong type": Bad(
        CALL, {"input": {"expression": 5}}, "TOOL_INPUT_INVALID", "input.expression"
    ),
    "argument that is missing": Bad(CALL, {"input": {}}, "TOOL_INPUT_INVALID", "input.expression"),
    "argument that is not known": Bad(
        CALL, {"input": {"expression": "1", "x": 1}}, "TOOL_INPUT_INVALID", "input.x"
    ),
    "bytes that are not UTF-8": Bad(INVOKE, b'{"query": "\xff\xfe"}', NOT_JSON),
    "half a character": Bad(INVOKE, b'{"query": "\\ud800"}', NOT_JSON),
    "NaN": Bad(CALL, free(b"NaN"), NOT_JSON),
    "Infinity": Bad(CALL, free(b"Infinity"), NOT_JSON),
    "minus Infinity": Bad(CALL, free(b"-Infinity"), NOT_JSON),
    "1e999": Bad(CALL, free(b"1e999"), WRONG, BEYOND),
    "2^53 + 1": Bad(CALL, free(b"9007199254740993"), WRONG, BEYOND),
    "minus 2^53 - 1": Bad(CALL, free(b"-9007199254740993"), WRONG, BEYOND),
    "400 digits": Bad(CALL, free(b"1" + b"0" * 400), WRONG, BEYOND),
    "NaN as a limit": Bad(INVOKE, b'{"query": "x", "timeout_ms": NaN}', NOT_JSON),
    "Infinity as text": Bad(INVOKE, query(timeout_ms="Infinity"), WRONG, "timeout_ms"),
    "huge number in a schema": Bad(
        INVOKE,
        b'{"query": "x", "response_schema": {"const": 1e999}}',
        WRONG,
        "response_schema.const",
    ),
    "10 MB query": Bad(INVOKE, {"query": "x" * 10_000_000}, "BODY_TOO_LARGE", code=413),
    "10 MB input": Bad(CALL, {"input": {"x": "x" * 10_000_000}}, "BODY_TOO_LARGE", code=413),
    "10,000 braces": Bad(CALL, b'{"input":' + nested(10_000) + b"}", NOT_JSON),
    "100,000 braces": Bad(INVOKE, nested(100_000), NOT_JSON),
    "100,000 braces that stay open": Bad(INVOKE, NESTED * 100_000, NOT_JSON),
    "negative steps": Bad(INVOKE, query(limits={"steps": -1}), WRONG, "limits.steps"),
    "negative tokens": Bad(INVOKE, query(limits={"tokens": -1}), WRONG, "limits.tokens"),
    "negative time": Bad(INVOKE, query(timeout_ms=-1), WRONG, "timeout_ms"),
    "negative time of a tool": Bad(
        CALL, {"input": {"expression": "1"}, "timeout_ms": -1}, WRONG, "timeout_ms"
    ),
    "negative max_tokens": Bad(
        INVOKE, query(sampling={"max_tokens": -1}), WRONG, "sampling.max_tokens"
    ),
    "negative temperature": Bad(
        INVOKE, query(sampling={"temperature": -1}), WRONG, "sampling.temperature"
    ),
    "negative page": Bad(
        "/v1/tools?page_size=-1", None, "PAGE_SIZE_INVALID", "page_size", method="GET"
    ),
    "made-up page token": Bad(
        "/v1/models?page_token=x", None, "PAGE_TOKEN_INVALID", "page_token", method="GET"
    ),
    "negative sequence": Bad(
        "/v1/tasks/t:watch?after_sequence=-1", None, WRONG, "after_sequence", method="GET"
    ),
    "prompt over the window": Bad(
        GENERATE, user("a " * 40_000), "CONTEXT_WINDOW_EXCEEDED", "messages"
    ),
    "query over the window": Bad(
        INVOKE, {"query": "a " * 32_768}, "CONTEXT_WINDOW_EXCEEDED", "query"
    ),
    "unknown field": Bad(INVOKE, query(quary="x"), WRONG, "quary"),
    "unknown field deep down": Bad(
        INVOKE, query(sampling={"top_q": 1}), WRONG, "sampling.top_q"
    ),
    "unknown parameter": Bad("/v1/tools?x=1", None, WRONG, "x", method="GET"),
    "number for text": Bad(INVOKE, {"query": 5}, WRONG, "query"),
    "text for a list": Bad(INVOKE, query(tools="calculator"), WRONG, "tools"),
    "text for a number": Bad(INVOKE, query(limits={"steps": "x"}), WRONG, "limits.steps"),
    "list for a body": Bad(INVOKE, [1], WRONG, "body"),
    "no body": Bad(INVOKE, b"", NOT_JSON),
    "no JSON": Bad(INVOKE, b"query=Hello", NOT_JSON),
    "no JSON Schema": Bad(
        INVOKE, query(response_schema={"type": "x"}), "SCHEMA_INVALID", "response_schema"
    ),
    "unknown route": Bad("/v1/nope", None, "ROUTE_NOT_FOUND", code=404, method="GET"),
    "wrong method": Bad(INVOKE, None, "METHOD_NOT_ALLOWED", code=405, method="GET"),
    "plain text": Bad(
        INVOKE, b"Hello", "MEDIA_TYPE_UNSUPPORTED", "content-type", 415,
        headers={"Content-Type": "text/plain"},
    ),
    "compressed body": Bad(
        INVOKE, query(), "MEDIA_TYPE_UNSUPPORTED", "content-encoding", 415,
        headers={"Content-Encoding": "gzip"},
    ),
    "picture of a stream": Bad(
        STREAM, query(), "NOT_ACCEPTABLE", "accept", 406, headers={"Accept": "image/png"}
    ),
    "bad timeout": Bad(
        INVOKE, query(), WRONG, "x-request-timeout", headers={"X-Request-Timeout": "soon"}
    ),
    "negative timeout": Bad(
        INVOKE, query(), WRONG, "x-request-timeout", headers={"X-Request-Timeout": "-1"}
    ),
    "bad request id": Bad(
        INVOKE, query(), WRONG, "x-request-id", headers={"X-Request-Id": "no id"}
    ),
    "unsupported version": Bad(
        INVOKE, query(), "PROTOCOL_VERSION_UNSUPPORTED", "runplane-version",
        headers={"runplane-version": "9.0"},
    ),
}  # fmt: skip


def refused(http: httpx2.Client, bad: Bad) -> httpx2.Response:
    """The answer to a bad request."""
    headers = (JSON if bad.body is not None else {}) | bad.headers
    return http.request(bad.method, bad.path, content=bad.content, headers=headers)


@pytest.fixture(scope="module", autouse=True)
def still_answers(http: httpx2.Client) -> Any:
    """After all of it, the suite is as it was."""
    before = http.get("/v1/tools").text
    yield
    assert http.post(INVOKE, json={"query": "Hello"}).json()["result"] == "Hello"
    assert http.get("/readyz").status_code == 200
    assert http.get("/v1/tools").text == before


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_a_reason_and_a_fix(http: httpx2.Client, name: str) -> None:
    bad = CASES[name]

    reply = refused(http, bad)

    body = reply.json()
    assert (reply.status_code, body["error_code"]) == (bad.code, bad.error_code)
    assert set(body) == SHAPE
    assert (body["status"], body["code"]) == ("error", bad.code)
    assert body["message"]
    assert body["suggested_fix"]
    assert body["request_id"] == reply.headers["x-request-id"]
    assert len(body["trace_id"]) == 32


@pytest.mark.parametrize("name", [name for name, bad in CASES.items() if bad.at])
def test_bad_input_is_named_and_starts_no_task(http: httpx2.Client, name: str) -> None:
    bad = CASES[name]

    facts = refused(http, bad).json()["details"][0]

    assert facts["reason"] == bad.error_code
    assert facts["metadata"]["field"] == bad.at
    assert "task_id" not in facts["metadata"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("argument of a wrong type", ["properties", "expression", "type"]),
        ("argument that is missing", ["required"]),
        ("argument that is not known", ["additionalProperties"]),
        ("number for text", ["properties", "query", "type"]),
        ("unknown field", ["additionalProperties"]),
    ],
)
def test_a_fault_has_a_place_in_the_schema(http: httpx2.Client, name: str, path: list[str]) -> None:
    assert refused(http, CASES[name]).json()["schema_path"] == path


@pytest.mark.parametrize("name", ["prompt over the window", "query over the window"])
def test_a_prompt_over_the_window_is_told_size_and_limit(http: httpx2.Client, name: str) -> None:
    facts = refused(http, CASES[name]).json()["details"][0]["metadata"]

    assert int(facts["prompt_tokens"]) > int(facts["limit_tokens"]) > 32_000


def test_a_wrong_method_is_told_the_right_ones(http: httpx2.Client) -> None:
    assert http.get(INVOKE).headers["allow"] == "OPTIONS, POST"


def test_an_unsupported_version_is_told_the_supported_ones(http: httpx2.Client) -> None:
    facts = refused(http, CASES["unsupported version"]).json()["details"][0]["metadata"]

    assert facts["supported"] == "1.0"


def test_the_largest_integer_that_json_carries_is_taken(http: httpx2.Client) -> None:
    request = query(response_schema={"const": 2**53})

    assert http.post(INVOKE, json=request).json()["output"] == 2**53
