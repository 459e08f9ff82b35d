"""The options of servers and channels: grpc ignores a name that it does not know."""

from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc

from services.chassis import client, server
from services.chassis.settings import ClientSettings, ServerSettings


@pytest.fixture(scope="module")
def known() -> bytes:
    """The library, which has the names of all its options in it."""
    return Path(cygrpc.__file__).read_bytes()


def test_grpc_knows_every_option_of_a_server(known: bytes) -> None:
    names = [name for name, _ in server._options(ServerSettings(connection_age=60))]

    assert [name for name in names if name.encode() + b"\0" not in known] == []


async def test_grpc_knows_every_option_of_a_channel(
    known: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    opened = grpc.aio.insecure_channel

    def noting(target: str, options: Sequence[tuple[str, object]]) -> grpc.aio.Channel:
        names.extend(name for name, _ in options)
        return opened(target, options=options)

    monkeypatch.setattr(grpc.aio, "insecure_channel", noting)
    async with client.channel(ClientSettings(target="127.0.0.1:1")):
        pass

    assert names
    assert [name for name in names if name.encode() + b"\0" not in known] == []
