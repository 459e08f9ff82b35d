"""The workflow service over real sockets, with the real tool registry, orchestrator and inference
with `echo`."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.workflow.world import World, started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """One for a file's tests."""
    async with started() as running:
        yield running
