"""Which names the edge answers to."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.hosts import hosts
from gateway.settings import Settings
from services.chassis.errors import PermissionDenied

LOCAL = "127.0.0.1:8080"

KEY: Any = "11" * 32


@pytest.mark.parametrize("listen", [LOCAL, "localhost:80", "[::1]:8080", "127.0.0.2:8080"])
@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:8080", b"[::1]:9", b"LocalHost:1"])
def test_on_loopback_the_edge_answers_to_its_own_names(listen: str, host: bytes) -> None:
    hosts(listen, frozenset()).check(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"evil.example:8080",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"evil.example:localhost",
        b"[::2]:8080",
        b"localhost:8080@evil.example",
    ],
)
def test_on_loopback_it_answers_to_no_other(host: bytes) -> None:
    with pytest.raises(PermissionDenied) as caught:
        hosts(LOCAL, frozenset()).check(host)

    assert caught.value.reason == "HOST_NOT_ALLOWED"
    assert "GATEWAY_ALLOWED_HOSTS" in caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:8080"])
def test_elsewhere_it_answers_to_all_names(listen: str) -> None:
    hosts(listen, frozenset()).check(b"anything.example:8080")


@pytest.mark.parametrize("listen", [LOCAL, "0.0.0.0:8080"])
def test_a_setting_says_to_which_names_it_answers(
    monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_HOSTS", "App.example, other.example:8443, [fe80::1]")
    allowed = hosts(listen, Settings(page_token_key=KEY).allowed_hosts)

    for host in (b"app.example", b"app.example:1", b"other.example:8443", b"[fe80::1]:80"):
        allowed.check(host)
    for host in (b"other.example", b"other.example:1", b"localhost"):
        with pytest.raises(PermissionDenied):
            allowed.check(host)


def test_a_star_lets_all_names_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_HOSTS", "*")
    allowed = hosts(LOCAL, Settings(page_token_key=KEY).allowed_hosts)

    allowed.check(b"evil.example")


@pytest.mark.parametrize("said", ["http://app.example", "app.example/x", "a b", "app:port"])
def test_what_is_no_host_is_no_setting(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("GATEWAY_ALLOWED_HOSTS", said)

    with pytest.raises(ValidationError, match="is no host"):
        Settings(page_token_key=KEY)
