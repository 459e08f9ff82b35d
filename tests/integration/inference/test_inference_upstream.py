"""The real service over an upstream, on a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from pydantic import ValidationError
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc
from runplane.type.v1 import content_pb2

from services.chassis.status import from_rpc_error
from services.inference.app import running
from services.inference.settings import OpenAISettings, Settings
from tests.integration.inference.conftest import LOOPBACK, SHARED
from tests.integration.inference.upstreams import (
    DONE,
    KEY,
    WHOLE,
    Server,
    Speak,
    delta,
    streaming,
)
from tests.integration.tool_registry.hosts import listening

HI = [content_pb2.Message(role="user", content="Hi")]
WEATHER = pb.ToolDefinition(name="weather", description="Outside.")


@asynccontextmanager
async def serving(
    speak: Speak, **more: object
) -> AsyncIterator[tuple[pb_grpc.InferenceServiceStub, Server]]:
    """A client of a service with an upstream that speaks so."""
    upstream = Server(speak, lists_models=True)
    async with listening(upstream) as port:
        asked = OpenAISettings(
            url=f"http://127.0.0.1:{port}/v1",
            model="org/big",
            api_key=KEY,
            context_tokens=1_000,
            **more,
        )
        settings = Settings(engine="openai", server=LOOPBACK, openai=asked)
        async with (
            running(settings, SHARED) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            stub = pb_grpc.InferenceServiceStub(channel)
            await stub.ListModels(pb.ListModelsRequest(), wait_for_ready=True)
            yield stub, upstream


async def test_an_upstream_streams_through_the_service() -> None:
    async with serving(streaming(*WHOLE)) as (stub, _):
        call = stub.StreamGenerate(pb.GenerateRequest(messages=HI))
        pieces = [piece async for piece in call]

    assert "".join(piece.text for piece in pieces) == "Hello there"
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].usage.prompt_tokens == 7


async def test_a_model_says_what_it_can_do_and_nothing_of_its_key() -> None:
    async with serving(streaming(*WHOLE)) as (stub, _):
        model = await stub.GetModel(pb.GetModelRequest(name="big"))

    assert (model.engine, model.context_tokens) == ("openai", 1_000)
    assert list(model.capabilities) == ["generate", "schema", "tools"]
    assert KEY not in str(model)


async def test_tools_go_to_the_upstream_and_its_calls_to_the_caller() -> None:
    function = {"name": "weather", "arguments": json.dumps({"city": "Ulm", "days": 3})}
    wanted = delta(tool_calls=[{"index": 0, "id": "call_1", "function": function}])
    parts = (wanted, delta(reason="tool_calls"), DONE)
    async with serving(streaming(*parts)) as (stub, upstream):
        request = pb.GenerateRequest(messages=HI, tools=[WEATHER], tool_choice="required")
        response = await stub.Generate(request)
        pieces = [piece async for piece in stub.StreamGenerate(request)]

    offered = upstream.body["tools"][0]["function"]
    assert (offered["name"], offered["parameters"]) == ("weather", {"type": "object"})
    assert response.finish_reason == "tool_calls"
    assert [(call.id, call.name) for call in response.tool_calls] == [("call_1", "weather")]
    assert dict(response.tool_calls[0].input) == {"city": "Ulm", "days": 3}
    assert pieces[-1].tool_calls == response.tool_calls


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GenerateRequest(tools=[WEATHER], prefix="Hel"), "prefix"),
        (
            pb.GenerateRequest(tools=[WEATHER], response_schema={"type": "object"}),
            "response_schema",
        ),
        (pb.GenerateRequest(tools=[WEATHER, WEATHER]), "tools[1].name"),
        (pb.GenerateRequest(tools=[pb.ToolDefinition(name="a b")]), "tools[0].name"),
        (pb.GenerateRequest(tools=[WEATHER], tool_choice="wether"), "tool_choice"),
        (pb.GenerateRequest(tool_choice="auto"), "tool_choice"),
        (pb.GenerateRequest(tools=[pb.ToolDefinition(name=f"t{n}") for n in range(129)]), "tools"),
        (
            pb.GenerateRequest(
                tools=[pb.ToolDefinition(name="a", input_schema={"type": "nothing"})]
            ),
            "tools[0].input_schema",
        ),
        (
            pb.GenerateRequest(tools=[pb.ToolDefinition(name="a", description="a" * 4_097)]),
            "tools[0].description",
        ),
    ],
)
async def test_tools_that_are_none_are_refused_with_the_field(
    request_: pb.GenerateRequest, field: str
) -> None:
    async with serving(streaming(*WHOLE)) as (stub, upstream):
        asked = len(upstream.asked)
        request_.messages.extend(HI)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Generate(request_)

        assert len(upstream.asked) == asked
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in [each.field for each in from_rpc_error(caught.value).violations]


async def test_models_without_tools_refuse_them(client: pb_grpc.InferenceServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.Generate(pb.GenerateRequest(messages=HI, tools=[WEATHER]))

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(caught.value).metadata["field"] == "tools"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"url": ""}, "INFERENCE_OPENAI__URL"),
        ({"model": ""}, "INFERENCE_OPENAI__MODEL"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://user:word@example.com/v1"}, "api_key"),
        ({"api_key": "a", "api_key_file": "/b"}, "api_key_file"),
        ({"dialect": "klingon"}, "dialect"),
        ({"model_name": "a b"}, "model_name"),
    ],
)
def test_settings_of_no_upstream_are_refused_by_name(more: dict[str, str], named: str) -> None:
    options = {"url": "http://127.0.0.1:1/v1", "model": "big", **more}

    with pytest.raises(ValidationError) as caught:
        Settings(engine="openai", openai=options)

    assert named in str(caught.value)
