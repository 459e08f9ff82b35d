"""Sessions of clients before 2026-07-28, and the ids of what they are asked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.mcp.ids import Ids, mark_of
from gateway.mcp.sessions import Session, Sessions
from services.chassis.context import Principal
from services.chassis.errors import InvalidArgument, NotFound

Wire = dict[str, Any]
KEY = b"k" * 32
NOW = datetime(2026, 11, 26, tzinfo=UTC)
TTL = timedelta(days=7)
ANN = Principal("hers", "ann")
FORMS = {"elicitation": {"form": {}}}


def sessions(now: datetime = NOW, key: bytes = KEY) -> Sessions:
    return Sessions(key, TTL, lambda: now)


def handshake(capabilities: object = None, version: str = "2025-11-25", **more: Any) -> Wire:
    info = {"name": "old", "version": "1"}
    can = FORMS if capabilities is None else capabilities
    params = {"protocolVersion": version, "capabilities": can, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {**params, **more}}


def begun(**fields: Any) -> str:
    """The id of a session of Ann's."""
    return sessions().begun(handshake(**fields), ANN)


def session(**fields: Any) -> Session:
    return sessions().found(begun(**fields), ANN)


def test_a_session_says_what_its_client_said() -> None:
    can = {**FORMS, "sampling": {"tools": {}}, "roots": {"listChanged": True}}

    found = session(capabilities=can)

    assert found.version == "2025-11-25"
    assert found.capabilities == {**FORMS, "sampling": {"tools": {}}, "roots": {}}


def test_what_nobody_knows_of_capabilities_is_left_out() -> None:
    much = {"elicitation": {"form": {"x": "y" * 9_000}, "z" * 9_000: {}}, "sampling": {}, "new": {}}

    sealed = begun(capabilities=much)

    assert sessions().found(sealed, ANN).capabilities == {**FORMS, "sampling": {}}
    assert len(sealed) < 1_000


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [("2025-06-18", "2025-06-18"), ("2027-01-01", "2025-11-25"), ("2026-07-28", "2025-11-25")],
)
def test_a_session_has_the_version_that_the_handshake_comes_to(asked: str, spoken: str) -> None:
    assert session(version=asked).version == spoken


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize"},
        handshake(clientInfo=7),
        handshake({}),
        handshake({"tasks": {}}),
        handshake({"elicitation": {}}, version="2025-03-26"),
    ],
    ids=["nothing", "list", "other", "empty", "wrong", "unable", "other ability", "too old"],
)
def test_who_cannot_be_asked_has_no_session(message: Any) -> None:
    assert sessions().begun(message, ANN) == ""


def changed(sealed: str) -> str:
    return ("B" if sealed.startswith("A") else "A") + sealed[1:]


@pytest.mark.parametrize(
    "sealed",
    ["", "e30", "a" * 5_000, begun()[:-4], changed(begun()), "é"],
    ids=["empty", "forged", "long", "cut", "changed", "no base64"],
)
def test_what_is_no_id_of_a_session_is_refused(sealed: str) -> None:
    with pytest.raises(NotFound) as caught:
        sessions().found(sealed, ANN)

    assert caught.value.reason == "MCP_SESSION_NOT_FOUND"


@pytest.mark.parametrize(
    "who", [Principal("his", "ann"), Principal("hers", "bob"), Principal()], ids=str
)
def test_a_session_is_its_clients_own(who: Principal) -> None:
    with pytest.raises(NotFound):
        sessions().found(begun(), who)


def test_a_session_of_another_suite_is_none() -> None:
    with pytest.raises(NotFound):
        sessions(key=b"o" * 32).found(begun(), ANN)


def test_a_session_is_good_until_its_time_is_over() -> None:
    sealed = begun()

    assert sessions(NOW + TTL - timedelta(seconds=1)).found(sealed, ANN).capabilities == FORMS
    with pytest.raises(NotFound):
        sessions(NOW + TTL).found(sealed, ANN)


def test_the_id_of_a_question_says_which_one_it_is() -> None:
    of, key = session(), "call_1.1." + "name" * 5_000

    sealed = Ids(KEY).sealed(of, "task_1", key)

    assert Ids(KEY).opened(of, sealed) == ("task_1", mark_of(key))
    assert len(sealed) < 200


@pytest.mark.parametrize(
    "sealed",
    [1, None, "1", begun(), Ids(KEY).sealed(session(), "task_1", "key")],
    ids=["number", "none", "text", "a session", "another session's"],
)
def test_what_this_session_was_never_asked_is_refused(sealed: object) -> None:
    with pytest.raises(InvalidArgument):
        Ids(KEY).opened(session(), sealed)
