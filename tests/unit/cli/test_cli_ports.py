"""Ports to listen on."""

import socket

import pytest

from services.cli.ports import free, is_free, joined

HOST = "127.0.0.1"


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

        assert not is_free(HOST, port)


def test_a_port_is_free_after_its_listener_closed() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

    assert is_free(HOST, port)


def test_a_host_that_is_not_ours_has_no_free_port() -> None:
    assert not is_free("203.0.113.1", 8080)


def test_the_preferred_port_is_had_when_it_is_free() -> None:
    preferred = free(HOST, taken=set())

    assert free(HOST, preferred=preferred, taken=set()) == preferred


def test_another_port_is_had_when_the_preferred_one_is_in_use() -> None:
    with socket.create_server((HOST, 0)) as listener:
        preferred = listener.getsockname()[1]

        assert free(HOST, preferred=preferred, taken=set()) != preferred


def test_no_port_is_given_twice() -> None:
    taken: set[int] = set()
    preferred = free(HOST, taken=taken)
    ports = [preferred, *(free(HOST, preferred=preferred, taken=taken) for _ in range(20))]

    assert len(set(ports)) == 21
    assert taken == set(ports)


def test_a_preferred_port_beyond_the_last_is_passed_over() -> None:
    assert free(HOST, preferred=65_537, taken=set()) < 65_536


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("a.b", "a.b:80")]
)
def test_an_address_is_shown_as_it_is_typed(host: str, shown: str) -> None:
    assert joined(host, 80) == shown
