"""These tests run in a loop whose time leaps, so that none of them waits."""

import asyncio
from collections.abc import Callable, Mapping

from tests.unit.leaping import LeapingLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What pytest-asyncio asks for the loops of this folder's tests."""
    return {"leaping": LeapingLoop}
