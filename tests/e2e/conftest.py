"""Two suites for all tests of this folder, a client for the edge of each, and older code."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import Suite, suite
from tests.e2e.versions import earlier_code


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite without a model."""
    with suite(tmp_path_factory.mktemp("echo"), "--engine", "echo") as running:
        yield running


@pytest.fixture(scope="session")
def http(echo: Suite) -> Iterator[httpx2.Client]:
    """A client of its edge."""
    with httpx2.Client(base_url=echo.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite with the real model."""
    with suite(tmp_path_factory.mktemp("llamacpp")) as running:
        yield running


@pytest.fixture(scope="session")
def real(llamacpp: Suite) -> Iterator[httpx2.Client]:
    """A client of that one's edge."""
    with httpx2.Client(base_url=llamacpp.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before."""
    return earlier_code(tmp_path_factory.mktemp("earlier"))
