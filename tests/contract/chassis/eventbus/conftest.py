"""The adapters under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Iterator

import pytest

from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import EventBus
from tests.servers.kafka import kafka as kafka_server


@pytest.fixture
def memory() -> str:
    """The URL of the in-process bus."""
    return "memory:"


@pytest.fixture
def kafka() -> Iterator[str]:
    """The URL of an empty Kafka."""
    with kafka_server() as running:
        yield running.url


@pytest.fixture(params=["memory", "kafka"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[EventBus]:
    """An empty bus of each adapter."""
    async with event_bus(request.getfixturevalue(request.param)) as opened:
        yield opened
