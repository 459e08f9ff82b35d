"""Requests go out in one piece."""

from typing import Any

import httpcore2
import pytest

from services.tool_registry.adapters.heads import MOST_HELD, Heads


class Wire(httpcore2.AsyncNetworkStream):
    """Remembers what was sent, and answers."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.sent: list[bytes] = []
        self.is_broken = is_broken

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        if self.is_broken:
            raise httpcore2.WriteError("gone")
        self.sent.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Answer."""
        return b"HTTP/1.1 413 No\r\n\r\n"

    def get_extra_info(self, info: str) -> Any:
        """Nothing."""
        return None


async def test_a_request_is_sent_at_once_when_its_answer_is_read() -> None:
    wire = Wire()
    heads = Heads(wire)
    for part in (b"head", b"body", b""):
        await heads.write(part)
    before = [*wire.sent]
    await heads.read(100)
    await heads.read(100)

    assert (before, wire.sent) == ([], [b"headbody"])


async def test_a_large_request_is_sent_as_it_comes() -> None:
    wire = Wire()
    heads = Heads(wire)
    part = b"x" * (MOST_HELD // 2)
    for _ in range(6):
        await heads.write(part)
    await heads.read(100)

    assert b"".join(wire.sent) == part * 6
    assert max(map(len, wire.sent)) <= 2 * MOST_HELD


async def test_what_a_server_answered_before_it_hung_up_is_read() -> None:
    heads = Heads(Wire(is_broken=True))
    await heads.write(b"head")

    assert b"413" in await heads.read(100)


async def test_a_large_request_that_cannot_be_sent_fails() -> None:
    with pytest.raises(httpcore2.WriteError):
        await Heads(Wire(is_broken=True)).write(b"x" * (MOST_HELD + 1))
