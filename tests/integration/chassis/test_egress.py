"""The way out, over real sockets."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from services.chassis.egress.addresses import METADATA, Allowed, Denied
from services.chassis.egress.client import Egress
from services.chassis.errors import FailedPrecondition, Unavailable
from tests.integration.tool_registry.hosts import Names, certified, hello, listening, said

LOOPBACK = Allowed.parsed("127.0.0.1/32")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_loopback_is_refused_by_default() -> None:
    async with listening(hello) as port, Egress(Allowed()).client() as http, asyncio.timeout(5):
        with pytest.raises(FailedPrecondition) as caught:
            await http.get(f"http://127.0.0.1:{port}/")

    assert caught.value.reason == "TARGET_REFUSED"
    assert caught.value.metadata["host"] == "127.0.0.1"
    assert caught.value.metadata["address_class"] == "loopback"
    assert caught.value.metadata["setting"] == "EGRESS__ALLOW"


async def test_settings_allow_loopback() -> None:
    async with listening(hello) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        response = await http.get(f"http://127.0.0.1:{port}/")

    assert response.json() == "hello"


@pytest.mark.parametrize(
    "host",
    ["localhost", "2130706433", "0x7f.1", "127.1", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]"],
)
async def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    async with listening(hello) as port, Egress(Allowed()).client() as http, asyncio.timeout(5):
        with pytest.raises(FailedPrecondition) as caught:
            await http.get(f"http://{host}:{port}/")

    assert caught.value.reason == "TARGET_REFUSED"


@pytest.mark.parametrize(
    ("addresses", "kind"),
    [
        (["10.0.0.1"], "private"),
        (["8.8.8.8", "169.254.169.254"], METADATA),
        (["2606:4700::1111", "::ffff:10.0.0.1"], "private"),
        (["64:ff9b::7f00:1"], "loopback"),
        (["fe80::1%2"], "one with a zone"),
    ],
)
async def test_one_bad_address_refuses_the_name(addresses: Sequence[str], kind: str) -> None:
    egress = Egress(Allowed(), lookup=Names(some_example=[addresses]))

    with pytest.raises(FailedPrecondition) as caught:
        await egress.resolve("some.example", 443)

    assert caught.value.metadata["address_class"] == kind
    assert not set(addresses) & set(str(caught.value).split())


async def test_good_addresses_are_given() -> None:
    egress = Egress(Allowed(), lookup=Names(some_example=[["8.8.8.8", "1.1.1.1"]]))

    assert await egress.resolve("some.example", 443) == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("names", [Names(), Names(no_example=[[]])])
async def test_a_name_without_addresses_is_unavailable(names: Names) -> None:
    with pytest.raises(Unavailable) as caught:
        await Egress(Allowed(), lookup=names).resolve("no.example", 443)

    assert caught.value.reason == "TARGET_UNAVAILABLE"


async def test_the_system_knows_names() -> None:
    async with asyncio.timeout(10):
        assert "127.0.0.1" in await Egress(Allowed.parsed("127.0.0.0/8,::1")).resolve(
            "localhost", 80
        )


async def test_the_connection_goes_where_the_check_looked() -> None:
    """DNS that answers otherwise the second time (rebinding) is not asked a second time."""
    names = Names(some_example=[["127.0.0.1"], ["127.0.0.2"]])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(5))
        port = await stack.enter_async_context(listening(hello))
        http = await stack.enter_async_context(Egress(LOOPBACK, lookup=names).client())
        response = await http.get(f"http://some.example:{port}/")
        server = response.extensions["network_stream"].get_extra_info("server_addr")
        again = await http.get(f"http://some.example:{port}/")

    assert (response.json(), again.json()) == ("hello", "hello")
    assert server[0] == "127.0.0.1"
    assert names.asked == ["some.example"]


async def test_the_next_connection_is_checked_anew() -> None:
    names = Names(some_example=[["127.0.0.1"], ["127.0.0.2"]])

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        writer.write(ANSWER)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(5))
        port = await stack.enter_async_context(listening(once))
        http = await stack.enter_async_context(Egress(LOOPBACK, lookup=names).client())
        await http.get(f"http://some.example:{port}/")
        with pytest.raises(FailedPrecondition):
            await http.get(f"http://some.example:{port}/")

    assert names.asked == ["some.example"] * 2


async def test_the_next_address_is_tried() -> None:
    egress = Egress(
        Allowed.parsed("127.0.0.0/8"), lookup=Names(some_example=[["127.0.0.3", "127.0.0.1"]])
    )
    async with listening(hello) as port, egress.client() as http, asyncio.timeout(5):
        response = await http.get(f"http://some.example:{port}/")

    assert response.json() == "hello"


async def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path) -> None:
    server, client = certified(tmp_path, "some.example")
    names = Names(some_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    egress = Egress(LOOPBACK, lookup=names, tls=client)
    async with listening(hello, tls=server) as port, egress.client() as http, asyncio.timeout(5):
        response = await http.get(f"https://some.example:{port}/")
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"https://other.example:{port}/")

    assert response.json() == "hello"


async def test_a_redirect_is_checked_as_the_first_hop() -> None:
    async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        writer.write(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
            b"Location: http://169.254.169.254/latest/meta-data/\r\n\r\n"
        )

    async with listening(away) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        with pytest.raises(FailedPrecondition) as caught:
            await http.get(f"http://127.0.0.1:{port}/")

    assert caught.value.metadata["address_class"] == METADATA


async def test_a_name_that_takes_long_is_given_up() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    timeout = httpx2.Timeout(5, connect=0.05)
    async with (
        asyncio.timeout(5),
        Egress(LOOPBACK, lookup=never).client(timeout=timeout) as http,
    ):
        with pytest.raises(httpx2.ConnectTimeout):
            await http.get("http://some.example/")


async def test_the_proxies_of_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with listening(hello) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        response = await http.get(f"http://127.0.0.1:{port}/")

    assert response.json() == "hello"


async def test_cookies_are_not_kept() -> None:
    heads: list[bytes] = []

    async def baking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await said(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with listening(baking) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        for _ in range(2):
            await http.get(f"http://127.0.0.1:{port}/")

    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "some.example"])
async def test_a_denied_port_is_not_called_though_its_address_is_allowed(host: str) -> None:
    names = Names(some_example=[["127.0.0.1"]] * 9, localhost=[["127.0.0.1"]] * 9)
    async with listening(hello) as port, listening(hello) as other, asyncio.timeout(5):
        never = Denied.parsed(f"127.0.0.1:{port}")
        egress = Egress(Allowed.parsed("127.0.0.0/8,*.example"), never, lookup=names)
        async with egress.client() as http:
            with pytest.raises(FailedPrecondition) as over_http:
                await http.get(f"http://{host}:{port}/")
            response = await http.get(f"http://{host}:{other}/")
        with pytest.raises(FailedPrecondition) as over_grpc:
            await egress.resolve(host, port)

    assert response.json() == "hello"
    for caught in (over_http, over_grpc):
        assert caught.value.reason == "TARGET_REFUSED"
        assert caught.value.metadata["setting"] == "EGRESS__DENY"


async def test_interim_answers_come_before_the_one_that_counts() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100

    async def hinting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await said(reader)
            writer.write(early[:10])
            await writer.drain()
            writer.write(early[10:] + ANSWER)

    async with listening(hinting) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        answers = [await http.get(f"http://127.0.0.1:{port}/") for _ in range(30)]

    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100\r\n\r\n", b"HTTP/1.1 103 \n\n"])
async def test_interim_answers_without_end_are_none(interim: bytes) -> None:
    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        while not writer.is_closing():
            writer.write(interim * 1000)
            await writer.drain()

    async with listening(stalling) as port, Egress(LOOPBACK).client() as http, asyncio.timeout(5):
        with pytest.raises(httpx2.RemoteProtocolError, match="interim"):
            await http.get(f"http://127.0.0.1:{port}/")
