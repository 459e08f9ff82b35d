"""What of WebSockets is decided without one: handshakes, origins, close codes, contracts."""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from gateway import codec
from gateway.codec import Method, Rule
from gateway.conversation import Conversation
from gateway.endpoints import Edge
from gateway.handshake import is_handshake
from gateway.origins import check_origin
from gateway.settings import Settings
from gateway.templates import parse
from gateway.websocket import close_code
from services.chassis.errors import PermissionDenied

GOOD = {
    b"host": b"edge:8080",
    b"connection": b"keep-alive, Upgrade",
    b"upgrade": b"WebSocket",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-version": b"13",
}

KEY: Any = "11" * 32


def converse() -> Method:
    return next(each for each in codec.methods() if each.is_bidi)


def test_a_handshake_is_known_by_its_headers() -> None:
    assert is_handshake(GOOD.items())


@pytest.mark.parametrize("name", list(GOOD))
def test_a_handshake_that_misses_a_header_is_none(name: bytes) -> None:
    assert not is_handshake((key, value) for key, value in GOOD.items() if key != name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"upgrade", b"h2c"),
        (b"connection", b"close"),
        (b"sec-websocket-version", b"8"),
        (b"sec-websocket-key", b"c2hvcnQ="),
        (b"sec-websocket-key", b"\xff"),
    ],
)
def test_a_handshake_with_another_value_is_none(name: bytes, value: bytes) -> None:
    assert not is_handshake({**GOOD, name: value}.items())


@pytest.mark.parametrize("name", [b"host", b"origin", b"sec-websocket-key"])
def test_a_handshake_that_says_a_thing_twice_is_none(name: bytes) -> None:
    twice = [(name, GOOD.get(name, b"http://edge"))] * 2
    once = [(key, value) for key, value in GOOD.items() if key != name]

    assert not is_handshake([*once, *twice])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "edge:8080"),
        ("http://edge:8080", "edge:8080"),
        ("HTTP://Edge:8080", "edge:8080"),
        ("https://edge.example", "edge.example"),
        ("https://edge.example:443", "edge.example"),
        ("http://edge.example", "edge.example:80"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_edge_s_own_pages_and_no_pages_are_let_in(origin: str, host: str) -> None:
    check_origin(origin, host, frozenset())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://elsewhere:8080", "edge:8080"),
        ("http://edge:3000", "edge:8080"),
        ("http://edge:8080.elsewhere", "edge:8080"),
        ("http://edge", "edge:443"),
        ("null", "edge:8080"),
        ("edge:8080", "edge:8080"),
        ("http://", ""),
        ("file://", ""),
        ("x://edge:8080", "edge:8080"),
        ("ws://edge:8080", "edge:8080"),
    ],
)
def test_a_page_from_elsewhere_is_refused(origin: str, host: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        check_origin(origin, host, frozenset({"https://app.example"}))

    assert caught.value.reason == "ORIGIN_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://app.example, http://localhost:3000", "http://localhost:3000"),
        ("https://App.example", "https://app.example"),
        ("null", "null"),
        ("*", "https://anyone.example"),
    ],
)
def test_settings_let_other_origins_in(
    monkeypatch: pytest.MonkeyPatch, allowed: str, origin: str
) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", allowed)

    check_origin(origin, "edge:8080", Settings(page_token_key=KEY).allowed_origins)


@pytest.mark.parametrize("said", ["app.example", "https://app.example/", "https://*.example"])
def test_what_is_no_origin_is_no_setting(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", said)

    with pytest.raises(ValidationError, match="is no origin"):
        Settings(page_token_key=KEY)


@pytest.mark.parametrize(
    ("http", "code"),
    [
        (400, 1008),
        (404, 1008),
        (413, 1008),
        (415, 1003),
        (429, 1013),
        (499, 1011),
        (500, 1011),
        (501, 1011),
        (503, 1013),
        (504, 1011),
    ],
)
def test_a_close_code_says_whose_fault_it_was(http: int, code: int) -> None:
    assert close_code(http) == code


def test_an_rpc_that_only_its_requests_stream_of_is_not_served() -> None:
    rpc: Any = SimpleNamespace(
        parent=SimpleNamespace(type_name="x.Y"), name="Put", method_kind="client_streaming"
    )

    with pytest.raises(ValueError, match=r"/x\.Y/Put streams its requests alone"):
        codec._method("orchestrator", rpc, (Rule("POST", "/v1/put", "*"),))


@pytest.mark.parametrize(
    "rule",
    [
        Rule("POST", "/v1/agent/converse", "*"),
        Rule("GET", "/v1/agent/converse", "start"),
        Rule("GET", "/v1/agents/{start.agent_id}/converse"),
    ],
)
async def test_a_conversation_at_anything_but_a_plain_get_is_not_served(rule: Rule) -> None:
    edge: Any = Edge(Settings(page_token_key=KEY), SimpleNamespace())  # type: ignore[arg-type]
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(ValueError, match="a get of a plain path"):
            Conversation(edge, converse(), rule, parse(rule.template), channel)
