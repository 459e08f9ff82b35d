"""Runs each test with every engine that can do what the test needs; the others never see it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.inference.ports import Engine
from tests.contract.inference.engines import ENGINES, chosen


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "needs(*capabilities): what the engine has to be able to do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each engine."""
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", chosen(), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of what their engine does not say it can do."""
    if unfit := [item for item in items if not _is_fit(item)]:
        items[:] = [item for item in items if _is_fit(item)]
        config.hook.pytest_deselected(items=unfit)


def _is_fit(item: pytest.Item) -> bool:
    called = getattr(item, "callspec", None)
    kind = ENGINES.get(called.params.get("engine")) if called else None
    needed = {each for mark in item.iter_markers("needs") for each in mark.args}
    return kind is None or needed <= kind.capabilities


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A loaded engine, with two slots and room for one to wait."""
    async with ENGINES[request.param].running() as engine:
        yield engine
