"""How fast a server may talk."""

import time

from services.tool_registry.adapters.mcp.pace import Pace


async def test_what_comes_too_fast_waits() -> None:
    paced = Pace(10)
    began = time.monotonic()

    for _ in range(10):
        await paced.step()
    before = time.monotonic() - began
    await paced.step()
    after = time.monotonic() - began

    assert before < 0.9
    assert after >= 0.9
