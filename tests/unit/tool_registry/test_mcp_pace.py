"""How fast a server may talk."""

import time

import pytest

from services.tool_registry.adapters.mcp import pace
from services.tool_registry.adapters.mcp.pace import Pace


async def test_what_comes_too_fast_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MESSAGES_A_SECOND", 10)
    paced = Pace()
    began = time.monotonic()

    for _ in range(10):
        await paced.step()
    before = time.monotonic() - began
    await paced.step()
    after = time.monotonic() - began

    assert before < 0.9
    assert after >= 0.9
