"""How fast a server may talk."""

import asyncio

from services.tool_registry.adapters.mcp.pace import Pace
from tests.unit.leaping import LeapingLoop


async def stepped(count: int, *, a_second: int) -> list[float]:
    """When each of so many messages was let through."""
    paced, clock = Pace(a_second), asyncio.get_running_loop().time
    began, times = clock(), []
    for _ in range(count):
        await paced.step()
        times.append(clock() - began)
    return times


def test_what_comes_too_fast_waits() -> None:
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        times = runner.run(stepped(11, a_second=10))

    assert times == [0.0] * 10 + [1.0]
