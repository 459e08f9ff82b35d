"""What the events of a batch add up to."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.inference.domain import batch as bt
from services.inference.domain.batch import ItemState, State
from services.inference.domain.generation import Usage
from services.inference.domain.request import Message, Request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPEC = bt.Spec("batch_1", "default", "local", "", "", {}, NOW + timedelta(hours=1))
ITEMS = [bt.Item(key, Request("", (Message("user", key),))) for key in "abc"]
CREATED, STARTED = bt.Created(NOW, SPEC, ITEMS), bt.Started(NOW)


def done(index: int, state: ItemState = ItemState.COMPLETED) -> bt.ItemEnded:
    """An item that ended, for ten tokens and a cent."""
    return bt.ItemEnded(NOW, bt.Outcome(index, state, 1, usage=Usage(7, 3, 2), cost_usd=0.01))


def ended(state: State) -> bt.Ended:
    """All is over."""
    return bt.Ended(NOW, state, "why")


def after(*events: bt.Event) -> bt.Batch:
    """What these lead to."""
    batch = None
    for event in events:
        batch = bt.evolve(batch, event)
    assert batch is not None
    return batch


def test_a_batch_counts_its_items_tokens_and_dollars() -> None:
    batch = after(CREATED, STARTED, done(2), done(0, ItemState.FAILED))

    assert (batch.state, batch.sequence, batch.left) == (State.RUNNING, 4, 1)
    assert batch.counts == {
        ItemState.PENDING: 1,
        ItemState.COMPLETED: 1,
        ItemState.FAILED: 1,
        ItemState.CANCELED: 0,
        ItemState.EXPIRED: 0,
    }
    assert (batch.usage, batch.cost_usd) == (Usage(14, 6, 4), 0.02)


@pytest.mark.parametrize("state", [State.CANCELED, State.EXPIRED])
@pytest.mark.parametrize("before", [[CREATED], [CREATED, STARTED, done(1)]])
def test_what_is_left_at_an_early_end_shares_its_state(
    before: Sequence[bt.Event], state: State
) -> None:
    batch = after(*before, ended(state))

    assert (batch.is_closed, batch.left, batch.reason) == (True, 0, "why")
    assert batch.counts[bt.LEFT[state]] == 3 - (len(before) - 1) // 2


@pytest.mark.parametrize(
    "events",
    [
        [STARTED],
        [CREATED, CREATED],
        [CREATED, done(0)],
        [CREATED, STARTED, STARTED],
        [CREATED, STARTED, done(0), done(0)],
        [CREATED, STARTED, done(3)],
        [CREATED, STARTED, ended(State.COMPLETED)],
        [CREATED, ended(State.CANCELED), done(0)],
        [CREATED, ended(State.CANCELED), ended(State.EXPIRED)],
        [CREATED, STARTED, bt.Deleted(NOW)],
        [CREATED, ended(State.CANCELED), bt.Deleted(NOW), bt.Deleted(NOW)],
    ],
)
def test_what_cannot_happen_is_refused(events: Sequence[bt.Event]) -> None:
    with pytest.raises(ValueError, match=r"cannot happen|has ended|have not ended"):
        after(*events)
