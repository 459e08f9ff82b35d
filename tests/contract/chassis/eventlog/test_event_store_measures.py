"""What every event store says of its appends."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import Append, EventStore, NewEvent
from services.chassis.histograms import Histogram

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MANY = 40


def append(stream: str, expected: int = 0) -> Append:
    return Append("acme", stream, expected, [NewEvent("thing.happened.v1", NOW, b"")])


def counted(histogram: Histogram) -> tuple[int, float]:
    """How many observations there are, and what they add up to."""
    (series,) = histogram.series.values()
    return sum(series.counts), series.total


async def test_each_append_is_timed_whatever_comes_of_it(store: EventStore) -> None:
    await store.append(append("s_1"))
    with pytest.raises(Aborted):
        await store.append(append("s_1"))

    number, seconds = counted(store.measures.appends)

    assert number == 2
    assert 0 < seconds < 60


async def test_the_label_is_the_service_whose_store_it_is(store: EventStore) -> None:
    (labels,) = store.measures.appends.series

    assert labels[0].startswith("test_")


async def test_appends_that_share_a_commit_are_counted_together(
    store: EventStore, request: pytest.FixtureRequest
) -> None:
    await asyncio.gather(*(store.append(append(f"s_{number}")) for number in range(MANY)))

    commits, changes = counted(store.measures.commits)

    if "memory" in request.node.callspec.id:  # It has no disk to wait for.
        assert commits == 0
        return
    assert changes == MANY
    assert 0 < commits < MANY
