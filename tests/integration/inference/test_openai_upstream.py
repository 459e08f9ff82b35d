"""What an upstream is asked, and what becomes of its answers, over a real socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, ServiceError, Unavailable
from services.chassis.schema import Schema
from services.inference.domain.embedding import Embedding
from services.inference.domain.model import Capability
from services.inference.domain.request import Message, ResponseSchema, Sampling
from services.inference.domain.scoring import Scoring
from services.inference.domain.tools import Tool, ToolCall
from services.inference.engines.openai_http import keys
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Upstream
from tests.integration.inference.upstreams import (
    BOUNDS,
    DONE,
    HI,
    KEY,
    WHOLE,
    Server,
    Speak,
    answer,
    asking,
    delta,
    event,
    head,
    saying,
    silence,
    spoken,
    streaming,
)
from tests.integration.tool_registry.hosts import said

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
BOUND = replace(HI, schema=ResponseSchema(SCHEMA, Schema(SCHEMA, field="s").violations))
WEATHER = Tool("weather", "What it is like outside.", {"type": "object"})


def call(index: int, arguments: str, **more: object) -> bytes:
    """A piece of a tool call."""
    name = more.pop("name", None)
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "function": function, **more}])


async def test_a_stream_becomes_text_and_an_end_with_usage() -> None:
    async with asking(streaming(*WHOLE)) as (engine, _):
        texts, end = await spoken(engine)

    used = end.usage
    assert "".join(texts) == "Hello there"
    assert end.reason == "stop"
    assert (used.prompt_tokens, used.completion_tokens, used.cached_tokens) == (7, 2, 3)


async def test_a_stream_may_be_cut_anywhere() -> None:
    whole = b": a comment\r\n\r\n" + b"".join(WHOLE).replace(b"\n", b"\r\n")

    async def drop_by_drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        for byte in whole:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with asking(drop_by_drop) as (engine, _):
        texts, _ = await spoken(engine)

    assert "".join(texts) == "Hello there"


async def test_an_upstream_is_asked_as_openai_would_be() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.8, max_tokens=9, stop=("END",), seed=3)
    async with asking(streaming(*WHOLE)) as (engine, server):
        await spoken(engine, replace(HI, sampling=sampling))

    assert f"authorization: bearer {KEY}".encode() in server.asked[-1].lower()
    assert server.body == {
        "model": "big",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.8,
        "stop": ["END"],
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_what_a_request_leaves_open_is_left_to_the_upstream() -> None:
    async with asking(streaming(*WHOLE), limit_field="max_completion_tokens") as (engine, server):
        await spoken(engine)

    assert server.body["max_completion_tokens"] == 1_000  # The window: less than the default.
    assert not {"temperature", "top_p", "stop", "seed", "max_tokens"} & server.body.keys()


async def test_a_schema_goes_along_and_what_comes_matches_it() -> None:
    bound = streaming(delta(' {"a"'), delta(": 1}"), delta(reason="stop"), DONE)
    async with asking(bound) as (engine, server):
        texts, _ = await spoken(engine, BOUND)

    wanted = {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}
    assert json.loads("".join(texts)) == {"a": 1}
    assert server.body["response_format"] == wanted


async def test_an_upstream_that_knows_no_schemas_is_told_of_it_in_words() -> None:
    bound = streaming(delta('{"a": 1}'), delta(reason="stop"), DONE)
    async with asking(bound, schema="json_object") as (engine, server):
        await spoken(engine, BOUND)

    first = server.body["messages"][0]
    assert first["role"] == "system"
    assert json.dumps(SCHEMA) in first["content"]
    assert server.body["response_format"] == {"type": "json_object"}


async def test_vllm_is_told_to_go_on_from_the_start_of_a_turn() -> None:
    async with asking(streaming(*WHOLE), dialect="vllm") as (engine, server):
        await spoken(engine, replace(HI, prefix="Hel"))

    assert server.body["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert server.body["continue_final_message"] is True
    assert server.body["add_generation_prompt"] is False


async def test_more_stop_texts_than_an_upstream_takes_are_refused() -> None:
    request = replace(HI, sampling=Sampling(stop=("a", "b", "c", "d", "e")))
    async with asking(streaming(*WHOLE)) as (engine, server):
        asked = len(server.asked)
        with pytest.raises(InvalidArgument) as caught:
            await spoken(engine, request)

    assert caught.value.metadata["field"] == "sampling.stop"
    assert len(server.asked) == asked


async def test_tools_are_offered_and_calls_come_back_whole() -> None:
    parts = (
        call(0, '{"ci', name="weather", id="call_7"),
        call(1, "", name="weather", id="call_8"),
        call(0, 'ty": "Ulm"}'),
        delta(reason="tool_calls"),
        DONE,
    )
    request = replace(HI, tools=(WEATHER,), tool_choice="weather")
    async with asking(streaming(*parts)) as (engine, server):
        _, end = await spoken(engine, request)

    described = {"name": "weather", "description": WEATHER.description}
    described["parameters"] = WEATHER.input_schema
    assert server.body["tools"] == [{"type": "function", "function": described}]
    assert server.body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert end.reason == "tool_calls"
    assert end.tool_calls == (
        ToolCall("call_7", "weather", {"city": "Ulm"}),
        ToolCall("call_8", "weather", {}),
    )


@pytest.mark.parametrize(
    "parts",
    [
        [call(0, '{"city": "U', name="weather")],
        [call(0, "[]", name="weather")],
        [call(0, "{}")],
        [call(0, '{"much": 1e999}', name="weather")],
        [call(0, '{"half": "\\ud800"}', name="weather")],
        [call(128, "{}", name="weather")],
        [delta(tool_calls=["weather"])],
    ],
    ids=["cut", "no object", "no name", "no number", "half a character", "too many", "no call"],
)
async def test_a_call_that_is_none_is_an_engine_that_failed(parts: list[bytes]) -> None:
    request = replace(HI, tools=(WEATHER,))
    async with asking(streaming(*parts, delta(reason="tool_calls"), DONE)) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine, request)

    assert caught.value.reason == "ENGINE_FAILED"


async def test_a_turn_cut_within_a_call_says_so_and_calls_nothing() -> None:
    parts = [call(0, '{"city": "U', name="weather"), delta(reason="length"), DONE]
    async with asking(streaming(*parts)) as (engine, _):
        _, end = await spoken(engine, replace(HI, tools=(WEATHER,)))

    assert (end.reason, end.tool_calls) == ("length", ())


def kept(served: list[int], times: int = 1_000) -> Callable[..., Awaitable[None]]:
    """An upstream that keeps its connections for so many requests; it counts those of each."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        for number in range(times):
            if number:
                await said(reader)
            served[-1] += 1
            body = b"".join(WHOLE)
            writer.write(answer(body, kind="text/event-stream"))
            await writer.drain()

    return speak


async def test_connections_are_used_again() -> None:
    served: list[int] = []
    async with asking(kept(served)) as (engine, _):
        for _ in range(4):
            await spoken(engine)

        assert served == [4]


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    served: list[int] = []
    async with asking(kept(served, 1)) as (engine, _):
        texts = ["".join((await spoken(engine))[0]) for _ in range(5)]

    assert texts == ["Hello there"] * 5


async def test_a_slot_is_free_as_soon_as_the_end_is_told() -> None:
    async with asking(streaming(*WHOLE)) as (engine, _):
        generating = engine.generate(HI, pace=timedelta(0))
        ends = [engine.active async for piece in generating if not isinstance(piece, str)]

    assert ends == [0]


async def test_without_a_tokenizer_a_prompt_has_at_most_a_token_for_each_byte() -> None:
    async with asking(silence) as (engine, _):
        few = await engine.count_tokens("upstream", [Message("user", "Grüße")])
        more = await engine.count_tokens("upstream", [Message("user", "Grüße")], "an" * 50)

    assert few >= len("Grüße".encode())
    assert more == few + 100


async def test_vllm_counts_tokens_itself() -> None:
    async with asking(saying(answer(b'{"count": 42}')), dialect="vllm") as (engine, server):
        counted = await engine.count_tokens("upstream", HI.messages)

    assert counted == 42
    assert server.asked[-1].startswith(b"POST /tokenize ")


async def test_vectors_come_in_their_order_and_with_a_length_of_one() -> None:
    data = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4.0]}]
    body = json.dumps({"data": data, "usage": {"prompt_tokens": 5}}).encode()
    async with asking(saying(answer(body)), is_embedding=True) as (engine, server):
        embedded = await engine.embed(Embedding("upstream", ("a", "b")))

        assert engine.models()[0].capabilities == {Capability.EMBED}
    assert embedded.vectors == ((0.6, 0.8), (0.0, 1.0))
    assert embedded.prompt_tokens == 5
    assert server.body == {"model": "big", "input": ["a", "b"], "encoding_format": "float"}


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [0, 0]}, {"index": 1, "embedding": [1, 0]}],
        [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": [1, 0]}],
        [{"index": 0, "embedding": [True]}, {"index": 1, "embedding": [1]}],
        [{"index": 0, "embedding": [10**400]}, {"index": 1, "embedding": [1]}],
        [{"index": 0, "embedding": [0.1] * 65_537}, {"index": 1, "embedding": [1]}],
        ["a", "b"],
    ],
)
async def test_vectors_that_are_none_are_an_engine_that_failed(data: list[object]) -> None:
    body = json.dumps({"data": data}).encode()
    async with asking(saying(answer(body)), is_embedding=True) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await engine.embed(Embedding("upstream", ("a", "b")))

        assert caught.value.reason == "ENGINE_FAILED"
        assert engine.active == 0


@pytest.mark.parametrize("counted", [-1, 2**31, True])
async def test_tokens_of_texts_that_nobody_can_have_counted_are_not_believed(counted: int) -> None:
    body = {"data": [{"embedding": [1]}], "usage": {"prompt_tokens": counted}}
    async with asking(saying(answer(json.dumps(body).encode())), is_embedding=True) as (engine, _):
        embedded = await engine.embed(Embedding("upstream", ("abc",)))

    assert embedded.prompt_tokens == 3


async def test_labels_are_scored_by_all_of_their_tokens_and_the_end_of_the_turn() -> None:
    chances = {"a": -1.0, "b": -2.0, "end": -0.5}
    server: list[Server] = []

    async def vllm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = server[0].body
        last = asked["messages"][-1]
        label = last["content"] if last["role"] == "assistant" else ""
        if b"/tokenize" in server[0].asked[-1]:
            writer.write(answer(json.dumps({"count": 2 + len(label)}).encode()))
            return
        logprobs: list[object] = [None, {"1": {"logprob": -9.0}}]
        logprobs += [{"2": {"logprob": chances[letter]}} for letter in label]
        logprobs += [{"3": {"logprob": chances["end"]}}, {"4": {"logprob": -7.0}}]
        writer.write(answer(json.dumps({"prompt_logprobs": logprobs}).encode()))

    async with asking(vllm, dialect="vllm") as (engine, here):
        server.append(here)
        scored = await engine.score(Scoring("upstream", HI.messages, ("a", "ab", "bb")))

        assert engine.active == 0
    assert scored.log_probabilities == (-1.5, -3.5, -4.5)
    assert scored.usage.prompt_tokens == 2


async def test_labels_are_scored_while_no_thread_is_free(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    key = keys.in_file(file, setting="INFERENCE_OPENAI__API_KEY_FILE")
    likely = [{"id": token, "logprob": -1.0} for token in range(128)]
    told = {"content": [{"id": 0, "logprob": -1.0, "top_logprobs": likely}]}
    server: list[Server] = []

    async def llamacpp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, asked = server[0].asked[-1].split()[1], server[0].body
        if path == b"/apply-template":
            turns = "".join(f"<{each['content']}>" for each in asked["messages"])
            writer.write(answer(json.dumps({"prompt": turns}).encode()))
        elif path == b"/tokenize":
            tokens = list(asked["content"].encode())
            writer.write(answer(json.dumps({"tokens": tokens}).encode()))
        else:
            writer.write(head() + event({"choices": [{"logprobs": told}]}) + DONE)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    props = answer(b'{"default_generation_settings": {"n_ctx": 1000}}')
    async with asking(saying(props), dialect="llamacpp", key=key) as (engine, here):
        server.append(here)
        here.speak = llamacpp
        asked = Scoring("upstream", HI.messages, ("a", "bc"))
        async with asyncio.timeout(5):
            scored = await asyncio.gather(engine.score(asked), engine.score(asked))

    assert [each.log_probabilities for each in scored] == [(-2.0, -3.0)] * 2


async def test_an_upstream_without_log_probabilities_scores_nothing() -> None:
    async with asking(silence) as (engine, _):
        with pytest.raises(ServiceError) as caught:
            await engine.score(Scoring("upstream", HI.messages, ("a", "b")))

    assert caught.value.reason == "MODEL_CAPABILITY_MISSING"


async def test_a_key_in_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    read = keys.in_file(file, setting="INFERENCE_OPENAI__API_KEY_FILE")
    file.write_text("one\n")
    one = await read()
    file.write_text("another\n")

    assert (one, await read()) == ("one", "another")


@pytest.mark.parametrize("text", [None, "", "two\nlines", "ümlaut"])
async def test_a_key_that_is_none_is_named_by_its_setting(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)

    with pytest.raises(FailedPrecondition) as caught:
        await keys.in_file(file, setting="INFERENCE_OPENAI__API_KEY_FILE")()

    assert caught.value.reason == "SECRET_NOT_FOUND"
    assert "INFERENCE_OPENAI__API_KEY_FILE" in caught.value.message
    assert str(tmp_path) not in f"{caught.value.message}{caught.value.metadata}"


async def test_an_upstream_that_is_starting_is_waited_for() -> None:
    models = b'{"data": [{"id": "big", "max_model_len": 99}]}'
    answers = [answer(b"{}", "503 Loading"), answer(models)]

    async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    bounds = replace(BOUNDS, start=timedelta(seconds=5))
    async with asking(
        starting, dialect="vllm", bounds=bounds, context_tokens=None, lists_models=False
    ) as (engine, _):
        assert engine.models()[0].context_tokens == 99


async def loading(speak: Speak, **more: object) -> ServiceError:
    """Why an upstream is not started with; it may take a minute to answer, if that helps."""
    bounds = replace(BOUNDS, start=timedelta(minutes=1))
    async with asyncio.timeout(5):
        with pytest.raises(ServiceError) as caught:
            async with asking(speak, bounds=bounds, lists_models=False, **more):
                pass
    return caught.value


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_key_that_is_refused_at_the_start_is_not_waited_for(status: str) -> None:
    error = await loading(saying(answer(b"{}", status)))

    assert error.reason == "ENGINE_FAILED"
    assert "INFERENCE_OPENAI__API_KEY" in error.message


async def test_an_upstream_that_tells_its_window_letter_by_letter_is_not_waited_for() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    bounds = replace(BOUNDS, window=timedelta(milliseconds=300))
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable) as caught:
            async with asking(drip, bounds=bounds, lists_models=False):
                pass

    assert caught.value.reason == "ENGINE_FAILED"
    assert "in time" in caught.value.message


async def test_a_window_that_nobody_tells_is_asked_for_by_its_setting() -> None:
    error = await loading(saying(answer(b'{"data": [{"id": "big"}]}')), context_tokens=None)

    assert error.reason == "ENGINE_FAILED"
    assert "INFERENCE_OPENAI__CONTEXT_TOKENS" in error.message


async def test_a_server_that_lists_no_models_is_started_with_if_its_window_is_known() -> None:
    async with asking(saying(answer(b"{}", "404 Not Found")), lists_models=False) as (engine, _):
        assert engine.models()[0].context_tokens == 1_000


@pytest.mark.parametrize(("told", "window"), [(500, 500), (5_000, 1_000)])
async def test_the_smaller_window_counts(told: int, window: int) -> None:
    listed = json.dumps({"data": [{"id": "big", "max_model_len": told}]}).encode()
    async with asking(saying(answer(listed)), dialect="vllm", lists_models=False) as (engine, _):
        assert engine.models()[0].context_tokens == window


async def test_an_upstream_that_has_not_answered_yet_says_when_to_come_back() -> None:
    upstream = Upstream("upstream", "http://127.0.0.1:1/v1", "big")
    engine = OpenAIEngine(upstream, trusted)

    with pytest.raises(Unavailable) as caught:
        engine.models()
    await engine.close()

    assert (caught.value.reason, bool(caught.value.retry_after)) == ("ENGINE_LOADING", True)


async def test_a_text_that_is_too_long_there_is_refused_by_its_place() -> None:
    refused = answer(b'{"error": {"message": "maximum context length is 8"}}', "400 Bad")
    async with asking(saying(refused), is_embedding=True) as (engine, _):
        with pytest.raises(InvalidArgument) as caught:
            await engine.embed(Embedding("upstream", ("a", "longer than a")))

    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["field"] == "inputs[1]"
