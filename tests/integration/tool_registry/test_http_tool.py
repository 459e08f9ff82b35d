"""HTTP tools over real sockets: what is sent, where to, and how it ends."""

import asyncio
import json
import logging

import pytest

from services.chassis.context import Principal, RequestContext, current
from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.errors import FailedPrecondition, InvalidArgument, ServiceError
from services.tool_registry.adapters.http.tool import HttpTools
from services.tool_registry.app import utc_now
from services.tool_registry.domain.targets import Http, HttpAuth
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.hosts import listening, said
from tests.integration.tool_registry.http_targets import (
    JSON,
    KEY,
    LIMIT,
    STORED,
    Target,
    answered,
    failure,
    refusal,
    result,
    tool,
)
from tests.unit.tool_registry.entries import entry, inputs


async def test_a_get_is_a_request_as_it_should_be() -> None:
    server = Target(answered('{"country": "France"}', JSON))

    assert await result(server) == {"country": "France"}
    assert server.heads[0].startswith("GET /cities/Paris HTTP/1.1\r\n")
    assert server.headers["host"].startswith("127.0.0.1:")
    assert server.headers["user-agent"].startswith("runplane/")
    assert {"content-length", "transfer-encoding", "idempotency-key", "authorization"}.isdisjoint(
        server.headers
    )


async def test_a_post_carries_its_input_and_its_key() -> None:
    server = Target(answered("1", JSON))
    schema = inputs("city", "n")
    async with tool(server, Http("POST", "BASE/new"), schema=schema) as made:
        await made.call(Invocation({"city": "Zürich", "n": 1}, idempotency_key="call_1"))

    assert json.loads(server.bodies[0]) == {"city": "Zürich", "n": 1}
    assert server.headers["content-type"] == "application/json"
    assert server.headers["idempotency-key"] == "call_1"


async def test_a_key_cannot_add_a_header() -> None:
    server = Target(answered("1", JSON))
    async with tool(server, Http("POST", "BASE/new")) as made:
        await made.call(Invocation({"city": "x"}, idempotency_key="a\r\nX-Evil: ü"))

    assert server.headers["idempotency-key"] == "a%0D%0AX-Evil:%20%C3%BC"


async def test_the_trace_goes_on() -> None:
    server = Target(answered("1", JSON))
    current.set(RequestContext(Principal(), "req_1", "a" * 32, "b" * 16))

    await result(server)

    assert server.headers["traceparent"].startswith(f"00-{'a' * 32}-")
    assert server.headers["traceparent"].endswith("-01")
    assert "b" * 16 not in server.headers["traceparent"]


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (HttpAuth("bearer", "key"), "authorization", f"Bearer {KEY}"),
        (HttpAuth("basic", "login"), "authorization", "Basic bWU6czNjcmV0LWtleQ=="),
        (HttpAuth("header", "key", "X-Api-Key"), "x-api-key", KEY),
    ],
)
async def test_a_secret_proves_who_calls(auth: HttpAuth, name: str, value: str) -> None:
    server = Target(answered("1", JSON))

    await result(server, Http("GET", "BASE/{city}", auth=auth))

    assert server.headers[name] == value


@pytest.mark.parametrize(("url", "path"), [("BASE/{city}", "?"), ("BASE/{city}?a=b", "?a=b&")])
async def test_a_secret_may_be_in_the_query(url: str, path: str) -> None:
    server = Target(answered("1", JSON))

    await result(server, Http("GET", url, auth=HttpAuth("query", "key", "api key")))

    assert server.heads[0].startswith(f"GET /Paris{path}api%20key={KEY} HTTP/1.1")


@pytest.mark.parametrize("name", ["absent", "odd"])
async def test_a_secret_that_cannot_be_sent_fails_before_anything_is(name: str) -> None:
    server = Target(answered("1", JSON))

    error = await refusal(server, Http("GET", "BASE/{city}", auth=HttpAuth("bearer", name)))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "SECRET_NOT_FOUND")
    assert error.metadata["secret"] == name
    assert server.connections == 0


async def test_a_target_that_is_not_there_is_unavailable() -> None:
    async with listening(Target()) as port:
        pass

    error = await refusal(Target(), Http("GET", f"http://127.0.0.1:{port}/{{city}}"))

    assert (error.code, error.reason) == ("UNAVAILABLE", "TOOL_UNAVAILABLE")
    assert error.retry_after is not None


async def test_cancelling_a_call_closes_the_connection() -> None:
    server = Target(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", hangs_up=False)
    async with tool(server) as made, asyncio.TaskGroup() as group:
        call = group.create_task(made.call(Invocation({"city": "Paris"})))
        await server.asked.wait()
        call.cancel()
        await server.gone.wait()

    assert call.cancelled()


async def test_connections_are_used_again() -> None:
    server = Target(answered("1", JSON), hangs_up=False)
    async with tool(server) as made:
        for _ in range(20):
            await made.call(Invocation({"city": "Paris"}))
        one = server.connections
        await asyncio.gather(*(made.call(Invocation({"city": "Paris"})) for _ in range(32)))

    assert one == 1
    assert server.connections <= 32
    assert len(server.heads) == 52


async def test_a_connection_that_the_target_closed_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        writer.write(answered("1", JSON))
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with tool(once) as made:
        first = await made.call(Invocation({"city": "Paris"}))
        await closed.wait()
        second = await made.call(Invocation({"city": "Paris"}))

    assert (first.value, second.value) == (1, 1)


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/", "http://127.0.0.2/"])
async def test_a_redirect_inside_is_refused(location: str) -> None:
    server = Target(answered("", f"Location: {location}", status="302 Found"))

    error = await refusal(server)

    assert isinstance(error, FailedPrecondition)
    assert error.reason == "TARGET_REFUSED"


async def test_a_redirect_is_followed_for_get_alone() -> None:
    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await said(reader)
        there = answered("", "Location: /new", status="307 Temporary Redirect")
        writer.write(answered('"there"', JSON) if b" /new " in head else there)

    assert await result(moved) == "there"
    assert (await failure(moved, Http("POST", "BASE/{city}"))).reason == "HTTP_STATUS"


async def test_redirects_without_end_are_refused() -> None:
    error = await failure(Target(answered("", "Location: /again", status="302 Found")))

    assert error.reason == "REDIRECT_REFUSED"
    assert error.is_targets


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "http://[::1]/", "http://localhost.example:80/", "http://127.1/"]
)
async def test_a_host_that_would_be_refused_is_refused_at_registration(url: str) -> None:
    tools = HttpTools(Egress(Allowed()), STORED, result_bytes=LIMIT, now=utc_now)

    if "example" in url:
        assert await tools.checked(entry(Http("GET", url)), "default")
    else:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(Http("GET", url)), "default")
        assert caught.value.reason == "TARGET_REFUSED"
        assert caught.value.metadata["field"] == "tool.http.url"


ECHOES = {
    "value": answered(json.dumps({"headers": {"X": f"Bearer {KEY}"}, KEY: [KEY]}), JSON),
    "escaped": answered('{"a": "s3\\u0063ret-key"}', JSON),
    "text": answered(f"you are {KEY}", "Content-Type: text/plain"),
    "type": answered("x", f"Content-Type: image/{KEY}"),
    "charset": answered("x", f"Content-Type: text/plain; charset={KEY}"),
    "status": answered(f"bad key {KEY}", status="403 Forbidden"),
    "broken": answered(f'{{"key": "{KEY}', JSON),
    "reason": answered("x", status=f"400 {KEY}"),
    "retry": answered("x", f"Retry-After: {KEY}", status="503 Busy"),
    "redirect": answered("", f"Location: http://{KEY}.invalid/{KEY}", status="302 Found"),
    "location": answered("", f"Location: ftp://{KEY}", status="302 Found"),
    "no http": KEY.encode(),
    "header": answered("1", JSON, f"X-Echo: {KEY}"),
}


@pytest.mark.parametrize("scheme", ["bearer", "query"])
@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES.keys())
async def test_a_secret_comes_back_nowhere(
    answer: bytes, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    auth = HttpAuth(scheme, "key", "api_key" if scheme == "query" else "")
    seen: list[object] = []
    # As the process has it: what they say of requests is nobody's business.
    for noisy in ("httpx2", "httpcore2"):
        caplog.set_level(logging.WARNING, noisy)
    with caplog.at_level(logging.DEBUG):
        try:
            seen.append(await result(Target(answer), Http("GET", "BASE/{city}", auth=auth)))
        except ToolFailure as error:
            seen += [error, error.message, error.suggested_fix, error.__cause__]
        except ServiceError as error:
            seen += [error, error.message, error.metadata, error.__cause__]

    assert KEY not in repr(seen)
    assert KEY not in caplog.text


async def test_a_secret_does_not_go_along_to_another_origin() -> None:
    other = Target(answered('"there"', JSON))
    async with listening(other) as port:
        first = Target(answered("", f"Location: http://127.0.0.1:{port}/", status="302 Found"))
        auth = HttpAuth("header", "key", "X-Api-Key")
        assert await result(first, Http("GET", "BASE/{city}", auth=auth)) == "there"

    assert KEY in first.heads[0]
    assert KEY not in other.heads[0]
