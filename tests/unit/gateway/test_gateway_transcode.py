"""JSON, path and query to requests, and what is refused with which field and fix."""

import dataclasses
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runplane.inference.v1 import inference_pb2
from runplane.orchestrator.v1 import orchestrator_pb2

from gateway import codec
from gateway.codec import Rule
from gateway.nesting import MAX_DEPTH, is_too_deep
from gateway.templates import parse
from gateway.transcode import Transcoder
from services.chassis.errors import InvalidArgument, ServiceError

METHODS = {method.path.rpartition("/")[2]: method for method in codec.methods()}


def transcoder(name: str, rule: Rule | None = None) -> Transcoder:
    method = METHODS[name]
    rule = rule or method.rules[0]
    return Transcoder(method, rule, parse(rule.template))


def invoke(body: bytes) -> orchestrator_pb2.InvokeRequest:
    encoded = transcoder("Invoke").encode({}, b"", body)
    return orchestrator_pb2.InvokeRequest.FromString(encoded.raw)


def refused(body: bytes) -> ServiceError:
    with pytest.raises(InvalidArgument) as caught:
        invoke(body)
    return caught.value


def refusal(act: Callable[[], object]) -> ServiceError | None:
    try:
        act()
    except InvalidArgument as error:
        return error
    return None


def test_a_body_becomes_the_request_by_either_spelling_of_its_fields() -> None:
    request = invoke(b'{"query": "hi", "toolChoice": "none", "limits": {"steps": "3"}}')

    assert (request.query, request.tool_choice, request.limits.steps) == ("hi", "none", 3)


@pytest.mark.parametrize(
    ("body", "field", "schema_path"),
    [
        (b"[]", "body", "/type"),
        (b'"x"', "body", "/type"),
        (b'{"query": 1}', "query", "/properties/query/type"),
        (b'{"querry": "a"}', "querry", "/additionalProperties"),
        (b'{"limits": {"stepz": 1}}', "limits.stepz", "/properties/limits/additionalProperties"),
        (b'{"limits": {"steps": 1.5}}', "limits.steps", "/properties/limits/properties/steps/type"),
        (b'{"limits": {"steps": 99999999999}}', "limits.steps", None),
        (b'{"limits": {"steps": 1e400}}', "limits.steps", None),
        (b'{"limits": {"steps": true}}', "limits.steps", None),
        (b'{"limits": []}', "limits", "/properties/limits/type"),
        (b'{"timeout_ms": "NaN"}', "timeout_ms", None),
        (b'{"timeout_ms": "-Infinity"}', "timeout_ms", None),
        (b'{"timeout_ms": "N\\u0061N"}', "timeout_ms", None),
        (b'{"timeout_ms": 1e400}', "timeout_ms", None),
        (b'{"tools": "x"}', "tools", "/properties/tools/type"),
        (b'{"tools": [1]}', "tools[0]", "/properties/tools/items/type"),
        (b'{"labels": {"a": 1}}', "labels[a]", "/properties/labels/additionalProperties/type"),
        (b'{"messages": [{"role": "user", "contents": 1}]}', "messages[0].contents", None),
        (b'{"messages": [null]}', "messages[0]", None),
        (b'{"response_schema": []}', "response_schema", None),
        (b'{"response_schema": {"a": 9007199254740993}}', "response_schema.a", None),
        (b'{"response_schema": {"a": [-9007199254740993]}}', "response_schema.a[0]", None),
        (b'{"response_schema": {"a": 1e400}}', "response_schema.a", None),
        (b'{"response_schema": {"a": ' + b"9" * 5000 + b"}}", "response_schema.a", None),
    ],
)
def test_a_wrong_body_names_field_and_fix(body: bytes, field: str, schema_path: str | None) -> None:
    error = refused(body)

    assert error.reason == "INVALID_REQUEST"
    assert error.metadata["field"] == field
    assert error.metadata["suggested_fix"]
    assert schema_path in (None, error.metadata["schema_path"])


def test_an_unknown_field_comes_with_the_one_that_was_meant() -> None:
    assert refused(b'{"querry": "a"}').metadata["suggested_fix"] == "did you mean query?"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a":',
        b'{"query": "a",}',
        b'{"query": "a"} x',
        b"{'query': 1}",
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b'{"query": "a\nb"}',
        b'{"timeout_ms": NaN}',
        b'{"timeout_ms": Infinity}',
        b'{"timeout_ms": -Infinity}',
        b'{"response_schema": {"a": NaN}}',
        b'\xef\xbb\xbf{"query": "a"}',
        b"\x00",
        b"{" * 10_000,
        b"[" * 4_000_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"response_schema":' + b'{"a":' * 60 + b"1" + b"}" * 61,
    ],
)
def test_what_is_no_json_is_refused_as_such(body: bytes) -> None:
    assert refused(body).reason == "JSON_INVALID"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"query": "a", "query": "b"}', "query"),
        (b'{"query": "a", "qu\\u0065ry": "b"}', "query"),
        (b'{"query": "a", "limits": {"steps": 1, "steps": 2}}', "limits.steps"),
        (
            b'{"messages": [{}, {"content": "a", "role": "user", "content": "b"}]}',
            "messages[1].content",
        ),
        (b'{"query": "a", "response_schema": {"b": [{"c": 1, "c": 1}]}}', "response_schema.b[0].c"),
        (b'{"query": "a", "labels": {"b": "1", "b": "2"}}', "labels.b"),
        (b'{"query": "a", "session_id": "b", "sessionId": "c"}', "sessionId"),
        (b'{"query": "a", "session_id": "b", "session\\u0049d": "c"}', "sessionId"),
        (b'{"query": "a", "sampling": {"topP": 1, "top_p": 1}}', "sampling.top_p"),
    ],
)
def test_a_name_that_is_there_twice_is_named(body: bytes, field: str) -> None:
    error = refused(body)

    assert (error.reason, error.metadata["field"]) == ("INVALID_REQUEST", field)
    assert error.metadata["suggested_fix"] == "give it once"


def test_a_name_of_free_json_is_not_another_spelling() -> None:
    request = invoke(b'{"query": "a", "response_schema": {"session_id": 1, "sessionId": 2}}')

    assert dict(request.response_schema) == {"session_id": 1, "sessionId": 2}


def test_a_syntax_error_says_where() -> None:
    assert refused(b'{\n "query": oops}').metadata["line"] == "2"


def test_brackets_in_text_are_not_nesting() -> None:
    query = "[{" * 1000 + '\\"['

    assert invoke(json.dumps({"query": query}).encode()).query == query


def test_many_objects_side_by_side_are_not_nesting() -> None:
    body = json.dumps({"messages": [{"role": "user"}] * 500}).encode()

    assert len(invoke(body).messages) == 500


def test_integers_that_doubles_hold_pass() -> None:
    request = invoke(b'{"response_schema": {"a": 9007199254740992, "b": "12345678901234567890"}}')

    assert request.response_schema["a"] == 2**53


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_answer_is_a_request_or_a_refusal(body: bytes) -> None:
    error = refusal(lambda: invoke(body))

    assert error is None or error.reason in {"JSON_INVALID", "INVALID_REQUEST"}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
)
NAMES = st.sampled_from([*METHODS["Invoke"].request.shape.fields])


@given(st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=4))
def test_whatever_the_json_a_refusal_names_a_field(document: dict[str, object]) -> None:
    error = refusal(lambda: invoke(json.dumps(document).encode()))

    assert error is None or error.reason == "JSON_INVALID" or error.metadata["field"]


@given(
    st.recursive(st.just("1"), lambda i: st.lists(i, max_size=3).map(lambda p: f"[{','.join(p)}]"))
)
def test_shallow_texts_are_never_too_deep(text: str) -> None:
    assert not is_too_deep(text.encode() * 1)


@pytest.mark.parametrize(
    ("opening", "closing", "brackets"),
    [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[{"a":', b"}]", 2)],
)
def test_depth_is_counted_to_the_bound(opening: bytes, closing: bytes, brackets: int) -> None:
    levels = MAX_DEPTH // brackets
    wide = b"[" + b",".join([b"[]"] * 200) + b"]"

    assert not is_too_deep(opening * (levels - 2) + wide + closing * (levels - 2))
    assert is_too_deep(opening * (levels + 1) + b"1" + closing * (levels + 1))


def test_an_unended_string_costs_linear_time() -> None:
    assert not is_too_deep(b'"' + b'\\"[' * 1_000_000)


def test_path_values_win_over_the_body() -> None:
    encoded = transcoder("CancelTask").encode(
        {"task_id": "task_1"}, b"", b'{"task_id": "task_2", "reason": "r"}'
    )
    request = orchestrator_pb2.CancelTaskRequest.FromString(encoded.raw)

    assert (request.task_id, request.reason) == ("task_1", "r")


def test_a_body_may_be_left_out_where_the_path_says_all() -> None:
    encoded = transcoder("CancelTask").encode({"task_id": "task_1"}, b"", b"")

    assert orchestrator_pb2.CancelTaskRequest.FromString(encoded.raw).task_id == "task_1"


def test_a_body_may_be_one_field_with_the_rest_in_the_query() -> None:
    rule = Rule("PUT", "/v1/x/{model}", "sampling")

    encoded = transcoder("Generate", rule).encode(
        {"model": "m"}, b"", b'{"stop": ["a"], "seed": 7}'
    )

    request = inference_pb2.GenerateRequest.FromString(encoded.raw)
    assert (request.model, request.sampling.seed, request.sampling.stop) == ("m", 7, ["a"])


@pytest.mark.parametrize(
    "body",
    [b'1, "model": "x"', b'{}, "model": "x"', b'{"sede": 1}', b"NaN", b"\xff"],
)
def test_a_body_that_is_one_field_cannot_set_others(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        transcoder("Generate", Rule("PUT", "/v1/x", "sampling")).encode({}, b"", body)


def test_a_body_that_is_one_field_has_each_of_its_names_once() -> None:
    def act() -> object:
        return transcoder("RegisterTool").encode({}, b"", b'{"name": "a", "http": {}, "name": "b"}')

    error = refusal(act)

    assert error is not None
    assert error.metadata["field"] == "name"


def test_query_parameters_reach_nested_repeated_and_optional_fields() -> None:
    rule = Rule("GET", "/v1/x")
    query = b"model=a%20b+c&sampling.topP=0.5&sampling.seed=-3&sampling.stop=x&sampling.stop=y%26z"

    encoded = transcoder("Generate", rule).encode({}, query, b"")

    request = inference_pb2.GenerateRequest.FromString(encoded.raw)
    assert request.model == "a b c"
    assert (request.sampling.top_p, request.sampling.seed) == (0.5, -3)
    assert request.sampling.stop == ["x", "y&z"]


def test_an_enum_and_a_bool_may_be_parameters() -> None:
    task_codec = codec.RequestCodec(orchestrator_task())
    method = dataclasses.replace(METHODS["GetTask"], request=task_codec)
    taking = Transcoder(method, Rule("GET", "/v1/x"), parse("/v1/x"))

    encoded = taking.encode({}, b"state=TASK_STATE_RUNNING&metadata.cached=true", b"")

    task = orchestrator_pb2.Task.FromString(encoded.raw)
    assert task.state == orchestrator_pb2.TASK_STATE_RUNNING
    assert task.metadata.cached


def orchestrator_task() -> object:
    file = codec.CONTRACTS["orchestrator"][0]
    return next(message for message in file.messages if message.name == "Task")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (b"pagesize=1", "pagesize"),
        (b"page_size=x", "page_size"),
        (b"page_size=1.5", "page_size"),
        (b"page_size=", "page_size"),
        (b"page_size=3000000000", "page_size"),
        (b"page_size=1_0", "page_size"),
        (b"page_size=%D9%A1", "page_size"),
        (b"page_size=1&page_size=2", "page_size"),
        (b"page_size=1&pageSize=2", "page_size"),
        (b"page_token=%ff", "page_token"),
        (b"a.b=1", "a.b"),
        (b"page_size.x=1", "page_size.x"),
        (b"=1", '""'),
    ],
)
def test_a_wrong_parameter_is_named(query: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        transcoder("ListModels").encode({}, query, b"")

    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.violations[0].field == field


@pytest.mark.parametrize(
    "query",
    [b"sampling=1", b"response_schema=1", b"sampling.temperature=NaN"],
)
def test_what_a_parameter_cannot_say_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidArgument):
        transcoder("Generate", Rule("GET", "/v1/x")).encode({}, query, b"")


@pytest.mark.parametrize("query", [b"query=x", b"task_id=x", b"x=1"])
def test_a_route_whose_body_is_all_takes_no_parameters(query: bytes) -> None:
    with pytest.raises(InvalidArgument):
        transcoder("CancelTask").encode({"task_id": "t"}, query, b"{}")


def test_the_path_cannot_be_contradicted_by_a_parameter() -> None:
    with pytest.raises(InvalidArgument):
        transcoder("WatchTask").encode({"task_id": "a"}, b"task_id=b", b"")


@given(st.binary(max_size=60))
def test_whatever_the_query_the_answer_is_a_request_or_a_refusal(query: bytes) -> None:
    error = refusal(lambda: transcoder("ListModels").encode({}, query, b""))

    assert error is None or error.violations[0].field


def test_the_last_event_id_goes_before_the_first_url() -> None:
    encoded = transcoder("WatchTask").encode({"task_id": "a"}, b"after_sequence=2", b"", "9")

    assert orchestrator_pb2.WatchTaskRequest.FromString(encoded.raw).after_sequence == 9


@pytest.mark.parametrize("last", ["x", "1.5", "99999999999", "é"])
def test_a_wrong_last_event_id_is_named(last: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        transcoder("WatchTask").encode({"task_id": "a"}, b"", b"", last)

    assert caught.value.violations[0].field == "last-event-id"


@pytest.mark.parametrize(
    "rule", [Rule("GET", "/v1/{nothing}"), Rule("GET", "/v1/{sampling}"), Rule("PUT", "/v1", "no")]
)
def test_a_rule_that_names_no_field_is_a_fault_of_the_contract(rule: Rule) -> None:
    with pytest.raises((ValueError, InvalidArgument)):
        transcoder("Generate", rule)


def test_replies_have_every_field_without_presence_and_events_only_what_is_there() -> None:
    task = METHODS["GetTask"].reply.whole(b"")
    event = orchestrator_pb2.TaskEvent(type="message_delta", sequence=3, text="a")
    kind, sequence, text = METHODS["WatchTask"].reply.piece(event.SerializeToString())

    assert json.loads(task)["last_sequence"] == 0
    assert (kind, sequence) == ("message_delta", 3)
    assert json.loads(text) == {"type": "message_delta", "sequence": 3, "text": "a"}


def test_integers_in_free_json_come_back_as_integers() -> None:
    event = orchestrator_pb2.TaskEvent(type="tool_call", latency_ms=4.0)
    event.input.update({"a": [84, 0.5, -1, 1e300], "b.0,": "x.0, y.0}", "c": '".0]'})
    text = METHODS["WatchTask"].reply.piece(event.SerializeToString())[2]

    assert '"a":[84,0.5,-1,' in text
    assert json.loads(text)["input"] == {
        "a": [84, 0.5, -1, 1e300],
        "b.0,": "x.0, y.0}",
        "c": '".0]',
    }
