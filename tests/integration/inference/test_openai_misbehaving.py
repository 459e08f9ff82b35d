"""Upstreams that do not do what they should: a typed error each, and every slot free again."""

import asyncio
import gzip
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.errors import FailedPrecondition, ResourceExhausted, ServiceError, Unavailable
from services.chassis.schema import Schema
from services.inference.domain.request import ResponseSchema, Sampling
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Upstream
from tests.integration.inference.upstreams import (
    BOUNDS,
    DONE,
    HI,
    KEY,
    READ_KEY,
    WHOLE,
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
    usage,
)
from tests.servers import ports

ERROR = b'{"error": {"message": "no", "type": "invalid_request_error", "code": null}}'
LATER = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head())
    while True:
        writer.write(delta("again and again ") * 64)
        await writer.drain()


async def one_long_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head() + b"data: ")
    for _ in range(100):
        writer.write(b"x" * 1024 * 1024)
        await writer.drain()


def then_silent(*parts: bytes) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        await silence(reader, writer)

    return speak


MISBEHAVING = {
    "a page": saying(answer(b"<html>Welcome!</html>", kind="text/html")),
    "a page as an error": saying(answer(b"<html>Oops</html>", "500 Oops", "text/html")),
    "another content type": saying(answer(b"".join(WHOLE), kind="application/x-ndjson")),
    "no content type": saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(WHOLE)),
    "json without a stream": saying(answer(b'{"choices": []}')),
    "no HTTP": saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing": saying(),
    "half a head": saying(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "silence from the start": silence,
    "silence behind the head": then_silent(head()),
    "silence in the midst": then_silent(head(), delta("Hel")),
    "half a JSON": streaming(b'data: {"choices": [{"delta": {"content": "He\n\n'),
    "half an event": streaming(delta("Hello"), delta("there")[:-9]),
    "no JSON": streaming(b"data: hello\n\n"),
    "a number": streaming(b"data: 42\n\n"),
    "nested for ever": streaming(b"data: " + b"[" * 30_000 + b"\n\n"),
    "invalid UTF-8": streaming(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'),
    "content that is no text": streaming(event({"choices": [{"delta": {"content": ["a"]}}]})),
    "a choice that is no object": streaming(event({"choices": ["a"]})),
    "an early end": streaming(delta("Hello")),
    "done without an end": streaming(delta("Hello"), DONE),
    "an empty stream": streaming(),
    "the end, and then more": streaming(delta("Hi"), delta(reason="stop"), delta("Hi"), DONE),
    "the same for ever": endless,
    "a line of 100 MB": one_long_line,
    "an error in the midst": streaming(
        delta("Hel"), event({"error": {"message": "out of memory"}})
    ),
    "a content filter": streaming(delta("Hel"), delta(reason="content_filter"), DONE),
    "calls without a call": streaming(delta(reason="tool_calls"), DONE),
    "packed": saying(
        answer(gzip.compress(b"\0" * 50_000_000), kind="text/event-stream", Content_Encoding="gzip")
    ),
    "a redirect": saying(answer(b"", "307 There", Location="http://169.254.169.254/latest")),
    "a redirect by GET": saying(answer(b"", "302 There", Location="http://10.0.0.1/")),
    "500": saying(answer(ERROR, "500 Oops")),
    "400": saying(answer(ERROR, "400 Bad")),
    "an unknown model": saying(answer(b'{"error": {"message": "no model big"}}', "404 Not Found")),
    "a key that is not taken": saying(answer(ERROR, "401 Unauthorized")),
    "a key that may not": saying(answer(ERROR, "403 Forbidden")),
    "204": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
}


@pytest.mark.parametrize("speak", MISBEHAVING.values(), ids=MISBEHAVING)
async def test_an_upstream_that_misbehaves_is_an_engine_that_failed(speak: Speak) -> None:
    async with asking(speak) as (engine, server):
        for _ in range(3):  # There are two slots: one that is lost would be missed.
            with pytest.raises(Unavailable) as caught:
                await spoken(engine)

            assert caught.value.reason == "ENGINE_FAILED"
            assert KEY not in f"{caught.value.message}{caught.value.metadata}"
            assert (engine.active, engine.waiting) == (0, 0)
        server.speak = streaming(*WHOLE)
        assert "".join((await spoken(engine))[0]) == "Hello there"


async def test_an_upstream_that_repeats_itself_is_left_long_before_its_time_is_over() -> None:
    few = replace(HI, sampling=Sampling(max_tokens=4))
    async with asking(then_silent(head(), *[delta("again ")] * 40)) as (engine, server):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine, few)
        async with asyncio.timeout(5):
            await server.hung_up.wait()

        assert engine.active == 0
    assert "more than it was asked for" in caught.value.message


@pytest.mark.parametrize(
    ("retry_after", "low", "high"),
    [
        ("7", 7, 7),
        ("", 1, 1),
        ("soon", 1, 1),
        ("999999", 300, 300),
        (LATER, 300, 300),
        ("-3", 1, 1),
    ],
    ids=["soon", "absent", "no number", "late", "a date", "the past"],
)
async def test_an_upstream_that_is_overloaded_says_when_to_come_back(
    retry_after: str, low: float, high: float
) -> None:
    more = {"Retry_After": retry_after} if retry_after else {}
    async with asking(saying(answer(ERROR, "429 Slow down", **more))) as (engine, _):
        with pytest.raises(ResourceExhausted) as caught:
            await spoken(engine)

        assert caught.value.reason == "ENGINE_OVERLOADED"
        assert caught.value.retry_after is not None
        assert low <= caught.value.retry_after.total_seconds() <= high
        assert engine.active == 0


async def test_an_upstream_that_is_down_for_a_while_says_so() -> None:
    async with asking(saying(answer(ERROR, "503 Down", Retry_After="9"))) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine)

    assert caught.value.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_key_that_is_refused_is_named_by_its_setting_and_never_shown(status: str) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: ' + KEY.encode() + b'"}}'
    async with asking(saying(answer(body, status))) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine)

    assert "INFERENCE_OPENAI__API_KEY" in caught.value.message
    assert KEY not in f"{caught.value.message}{caught.value.metadata}"


async def test_a_key_that_an_error_repeats_is_hidden() -> None:
    body = b'{"error": {"message": "who is ' + KEY.encode() + b'?"}}'
    async with asking(saying(answer(body, "400 Bad"))) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine)

    assert "who is [secret]?" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": "context_length_exceeded", "message": "too long"}}',
        b'{"error": {"code": 400, "message": "This model\'s maximum context length is 8 tokens."}}',
        b'{"error": {"type": "exceed_context_size_error", "message": "too long"}}',
    ],
    ids=["openai", "vllm", "llamacpp"],
)
async def test_a_prompt_that_is_too_long_there_is_too_long_here(body: bytes) -> None:
    async with asking(saying(answer(body, "400 Bad"))) as (engine, _):
        with pytest.raises(ServiceError) as caught:
            await spoken(engine)

    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["limit_tokens"] == "1000"
    assert int(caught.value.metadata["prompt_tokens"]) > 0


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
BOUND = replace(HI, schema=ResponseSchema(SCHEMA, Schema(SCHEMA, field="s").violations))


@pytest.mark.parametrize(
    "speak",
    [
        saying(answer(b'{"error": {"message": "Invalid schema for response_format"}}', "400 Bad")),
        streaming(event({"error": {"code": 500, "message": "empty grammar stack"}})),
    ],
    ids=["at once", "in the stream"],
)
async def test_a_schema_that_is_refused_there_is_refused_here(speak: Speak) -> None:
    async with asking(speak) as (engine, _):
        with pytest.raises(ServiceError) as caught:
            await spoken(engine, BOUND)

    assert caught.value.reason == "SCHEMA_INVALID"
    assert caught.value.metadata["field"] == "response_schema"


@pytest.mark.parametrize("text", ["Sure! Here it is:", '{"a": "b"}', '{"a": 1'])
async def test_an_output_that_no_schema_bound_is_an_engine_that_failed(text: str) -> None:
    async with asking(streaming(delta(text), delta(reason="stop"), DONE)) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine, BOUND)

    assert caught.value.reason == "ENGINE_FAILED"


async def test_an_upstream_that_is_not_there_is_an_engine_that_failed() -> None:
    url = f"http://127.0.0.1:{ports.free()}/v1"
    upstream = Upstream("upstream", url, "big", DIALECTS["openai"], slots=1, queue=1, bounds=BOUNDS)
    engine = OpenAIEngine(upstream, trusted, READ_KEY)
    with pytest.raises(Unavailable) as caught:
        await engine.load()
    await engine.close()

    assert caught.value.reason == "ENGINE_FAILED"
    assert caught.value.metadata["cause"].endswith("see INFERENCE_OPENAI__URL")


async def test_leaving_a_stream_hangs_up() -> None:
    async with asyncio.timeout(5), asking(then_silent(head(), delta("Hel"))) as (engine, server):
        async with aclosing(engine.generate(HI, pace=timedelta(0))) as pieces:
            assert await anext(pieces) == "Hel"
            assert engine.active == 1
        await server.hung_up.wait()

        assert engine.active == 0


async def test_being_cancelled_before_the_first_word_hangs_up() -> None:
    async with asyncio.timeout(5), asking(silence) as (engine, server):
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(spoken(engine))
            await server.came.wait()
            waiting.cancel()
        await server.hung_up.wait()

        assert engine.active == 0


async def test_an_upstream_of_a_tenant_is_asked_only_where_egress_lets_it() -> None:
    async with Egress(Allowed(), settings="INFERENCE_EGRESS") as egress:
        with pytest.raises(FailedPrecondition) as caught:
            async with asking(streaming(*WHOLE), connect=egress.client):
                pass

    assert caught.value.reason == "TARGET_REFUSED"
    assert caught.value.metadata["setting"] == "INFERENCE_EGRESS__ALLOW"


@pytest.mark.parametrize("prompt_tokens", [-1, 2**31 - 1])
async def test_what_was_not_counted_is_counted_here(prompt_tokens: int) -> None:
    counts = usage(prompt_tokens=prompt_tokens, completion_tokens=2**31 - 1)
    parts = (delta("Hello"), delta(" there"), delta(reason="stop"), counts, DONE)
    async with asking(streaming(*parts)) as (engine, _):
        _, end = await spoken(engine)

    assert end.usage.completion_tokens == 2
    assert end.usage.prompt_tokens == await engine.count_tokens("upstream", HI.messages)


async def test_a_key_that_is_repeated_within_a_stream_is_not_shown() -> None:
    parts = (delta("Hel"), event({"error": {"message": f"no more for {KEY}", "code": 500}}))
    async with asking(streaming(*parts)) as (engine, _):
        with pytest.raises(Unavailable) as caught:
            await spoken(engine)

    assert "no more for [secret]" in caught.value.message
    assert KEY not in f"{caught.value.message}{caught.value.metadata}"
