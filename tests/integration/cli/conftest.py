"""A suite without a model, for the commands that talk to one."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import Suite, suite


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """It runs for all tests of this folder."""
    with suite(tmp_path_factory.mktemp("cli"), "--engine", "echo") as running:
        yield running
