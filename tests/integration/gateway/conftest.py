"""The edge over fakes, and a client for it. A module's tests share them, and their loop."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.integration.gateway.fakes import Suite, suite
from tests.integration.gateway.places import Place, placed, reset


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Suite]:
    """The edge over services that do as the script says."""
    async with suite() as running:
        yield running


@pytest.fixture
def edge(shared: Suite) -> Suite:
    """That edge, with a script that is this test's own."""
    shared.script.reset()
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def http(edge: Suite) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that edge."""
    async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}", timeout=5) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def whole() -> AsyncIterator[Place]:
    """The edge over a real orchestrator, and a registry that does as tests say."""
    async with placed() as running:
        yield running


@pytest.fixture
def place(whole: Place) -> Place:
    """That, with an empty registry."""
    reset(whole)
    return whole
