"""The inference service over a real socket, with the echo engine."""

import asyncio
import json
from datetime import UTC, datetime

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.settings import SharedSettings
from services.chassis.status import status_of
from services.inference.app import running
from services.inference.settings import EchoSettings, Settings
from tests.integration.inference.conftest import LOOPBACK

Client = pb_grpc.InferenceServiceStub
TRACE = "0af7651916cd43dd8448eb211c80319c"


def asking(
    text: str, schema: dict[str, object] | None = None, **more: object
) -> pb.GenerateRequest:
    request = pb.GenerateRequest(messages=[{"role": "user", "content": text}], **more)
    if schema is not None:
        structs.from_dict(schema, request.response_schema)
    return request


async def failure(call: object) -> tuple[grpc.StatusCode, ErrorInfo, RetryInfo]:
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    info, retry = ErrorInfo(), RetryInfo()
    for detail in status_of(caught.value).details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return caught.value.code(), info, retry


async def once_free(client: Client, request: pb.GenerateRequest) -> pb.GenerateResponse:
    """Without a queue, an answer means that a slot was free."""
    while True:
        try:
            return await client.Generate(request)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


async def test_a_turn_comes_whole_with_usage_metrics_and_metadata(client: Client) -> None:
    metadata = [("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")]

    response = await client.Generate(asking("one two three"), metadata=metadata)

    assert (response.status, response.text) == ("completed", "one two three")
    assert response.finish_reason == "stop"
    assert response.id.startswith("req_")
    usage = response.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens == 4 + 3
    assert 0 < response.metrics.time_to_first_token_ms <= response.metrics.latency_ms
    assert (response.metadata.model, response.metadata.trace_id) == ("echo", TRACE)
    assert response.metadata.model_version
    ended = response.metadata.timestamp.ToDatetime(UTC)
    assert abs((datetime.now(UTC) - ended).total_seconds()) < 60


async def test_text_that_is_there_at_once_comes_in_one_message_with_the_end(client: Client) -> None:
    messages = [message async for message in client.StreamGenerate(asking("one two three"))]

    assert [(each.type, each.sequence, each.text) for each in messages] == [
        ("complete", 1, "one two three"),
    ]
    assert len({message.id for message in messages}) == 1
    end = messages[-1]
    assert (end.finish_reason, end.usage.completion_tokens) == ("stop", 3)
    assert end.metadata.model == "echo"


async def test_tokens_at_a_distance_are_merged_and_none_is_lost() -> None:
    settings = Settings(engine="echo", server=LOOPBACK, echo=EchoSettings(delay="PT0.0005S"))
    async with (
        asyncio.timeout(5),
        running(settings, SharedSettings(page_token_key="ab" * 32)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        request = asking("tokens:200")
        messages = [message async for message in Client(channel).StreamGenerate(request)]

    text = "".join(message.text for message in messages)
    assert text.split() == [f"tok{number}" for number in range(1, 201)]
    assert messages[0].text == "tok1 "
    assert len(messages) < 50


async def test_a_turn_goes_on_from_its_prefix(client: Client) -> None:
    request = asking("one two three", prefix="one t")
    counting = pb.CountTokensRequest(messages=request.messages, prefix=request.prefix)

    response = await client.Generate(request)

    assert response.text == "wo three"
    counted = (await client.CountTokens(counting)).prompt_tokens
    assert response.usage.prompt_tokens == counted == 4 + 2


async def test_a_schema_binds_the_output(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
        "required": ["b", "a"],
    }

    response = await client.Generate(asking("hello", schema))

    assert list(json.loads(response.text)) == ["b", "a"]


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.GenerateRequest(), "INVALID_REQUEST", "messages"),
        (
            asking("x", sampling={"temperature": float("nan")}),
            "INVALID_REQUEST",
            "sampling.temperature",
        ),
        (asking("x", sampling={"max_tokens": -1}), "INVALID_REQUEST", "sampling.max_tokens"),
        (asking("x" * 1_100_000), "INVALID_REQUEST", "messages"),
        (asking("word " * 40_000), "CONTEXT_WINDOW_EXCEEDED", "messages"),
        (asking("x", {"type": "string"}, prefix='"x'), "INVALID_REQUEST", "prefix"),
        (asking("x", prefix="x" * 1_100_000), "INVALID_REQUEST", "messages"),
        (asking("x", prefix="word " * 40_000), "CONTEXT_WINDOW_EXCEEDED", "messages"),
        (asking("x", {"type": "strin"}), "SCHEMA_INVALID", "response_schema"),
        (asking("x", {"enum": ["y" * 70_000]}), "SCHEMA_INVALID", "response_schema"),
        (asking("x", {"$ref": "https://example.com/schema"}), "SCHEMA_INVALID", "response_schema"),
    ],
    ids=[
        "none",
        "nan",
        "tokens",
        "bytes",
        "window",
        "prefix and schema",
        "prefix bytes",
        "prefix window",
        "schema",
        "large schema",
        "remote schema",
    ],
)
async def test_bad_requests_are_refused_with_reason_and_field(
    client: Client, request_: pb.GenerateRequest, reason: str, field: str
) -> None:
    code, info, _ = await failure(client.Generate(request_))
    streamed, _, _ = await failure(client.StreamGenerate(request_).read())

    assert code == streamed == grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.domain) == (reason, "inference.runplane.dev")
    assert info.metadata["field"] == field
    assert info.metadata["suggested_fix"]


async def test_a_model_that_is_not_there_is_refused_everywhere_with_the_known_names(
    client: Client,
) -> None:
    messages = asking("x").messages
    calls = [
        client.Generate(asking("x", model="gpt")),
        client.GetModel(pb.GetModelRequest(name="gpt")),
        client.CountTokens(pb.CountTokensRequest(model="gpt", messages=messages)),
    ]

    for call in calls:
        code, info, _ = await failure(call)
        assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        assert info.metadata["known"] == "echo"


async def test_tokens_are_counted_however_many(client: Client) -> None:
    request = pb.CountTokensRequest(messages=asking("word " * 40_000).messages)

    response = await client.CountTokens(request)

    assert response.model == "echo"
    assert response.prompt_tokens > response.context_tokens == 32_768


async def test_models_are_listed_and_got(client: Client) -> None:
    listed = await client.ListModels(pb.ListModelsRequest())
    got = await client.GetModel(pb.GetModelRequest(name="echo"))

    assert list(listed.models) == [got]
    assert not listed.next_page_token
    assert (got.engine, got.slots, got.is_default) == ("echo", 4, True)
    assert got.can_continue


async def test_bad_pages_are_refused(client: Client) -> None:
    reasons = [
        (await failure(client.ListModels(request)))[1].reason
        for request in (
            pb.ListModelsRequest(page_size=-1),
            pb.ListModelsRequest(page_token="x"),  # noqa: S106 - no secret
        )
    ]

    assert reasons == ["PAGE_SIZE_INVALID", "PAGE_TOKEN_INVALID"]


async def test_a_failing_engine_is_unavailable(client: Client) -> None:
    code, info, _ = await failure(client.Generate(asking("fail")))

    assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED")


async def test_cancelled_streams_free_their_slots_and_full_slots_turn_callers_away(
    client: Client,
) -> None:
    async with asyncio.timeout(5):
        calls = [client.StreamGenerate(asking("tokens:1000000")) for _ in range(4)]
        for call in calls:
            await call.read()
        code, info, retry = await failure(client.Generate(asking("x")))
        for call in calls:
            call.cancel()
        done = await once_free(client, asking("x"))

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ENGINE_OVERLOADED")
    assert retry.retry_delay.ToTimedelta()
    assert done.text == "x"


async def test_a_deadline_frees_the_slot(client: Client) -> None:
    sleeping = [client.Generate(asking("sleep:600000"), timeout=0.05) for _ in range(4)]
    for call in sleeping:
        code, _, _ = await failure(call)
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED

    async with asyncio.timeout(5):
        await once_free(client, asking("x"))


async def test_32_streams_at_once_lose_nothing() -> None:
    settings = Settings(engine="echo", server=LOOPBACK)

    async def tokens(stub: Client) -> int:
        call = stub.StreamGenerate(asking("tokens:5000"))
        return sum([len(message.text.split()) async for message in call])

    async with (
        asyncio.timeout(30),
        running(settings, SharedSettings(page_token_key="ab" * 32)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        counts = await asyncio.gather(*(tokens(Client(channel)) for _ in range(32)))

    assert counts == [5_000] * 32
