"""What every event store promises of tallies and holds: nothing is counted twice, or lost."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import Append, EventStore, NewEvent, Work
from services.chassis.eventlog.tallies import Amounts, Hold, Tally, Want

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVENT = [NewEvent("thing.happened.v1", NOW, b"a")]


class Clock(Protocol):
    """What these tests need of the clock."""

    def advance(self, by: timedelta) -> None: ...


def amounts(first: float, second: float = 0.0) -> Amounts:
    return first, second, 0.0, 1.0


def adding(number: int, *tallies: Tally, spent: Sequence[str] = (), tenant: str = "acme") -> Append:
    return Append(tenant, f"task_{number}", 0, EVENT, tallies=tallies, spent=spent)


def want(tokens: float, most: float | None, *, account: str = "quota", **names: str) -> Want:
    first, last = names.get("first", "a/1"), names.get("last", "a/9")
    return Want(account, first, last, amounts(tokens), (most, None, None, None))


def hold(name: str, *wants: Want, lasts: timedelta = MINUTE) -> Hold:
    return Hold(name, lasts, wants)


async def test_tallies_of_different_streams_add_up(store: EventStore) -> None:
    await store.append(adding(1, Tally("a/1", amounts(2, 0.5)), Tally("b/1", amounts(7))))
    await store.append(adding(2, Tally("a/1", amounts(3, 0.25))))

    assert await store.tallied("acme", "a/1", "a/1") == [Tally("a/1", (5.0, 0.75, 0.0, 2.0))]


async def test_a_range_of_tallies_is_in_order_and_has_its_ends(store: EventStore) -> None:
    for number, name in enumerate(("a/3", "a/1", "b/1", "a/2", "a/4")):
        await store.append(adding(number, Tally(name, amounts(1))))

    found = await store.tallied("acme", "a/2", "a/4")

    assert [tally.name for tally in found] == ["a/2", "a/3", "a/4"]
    assert [each.name for each in await store.tallied("acme", "a/", "c", limit=2)] == ["a/1", "a/2"]


async def test_tenants_have_their_own_tallies_and_holds(store: EventStore) -> None:
    await store.append(adding(1, Tally("a/1", amounts(5)), tenant="other"))
    await store.hold("other", hold("h", want(5, 100)))

    assert await store.tallied("acme", "a/1", "a/1") == []
    assert (await store.hold("acme", hold("h", want(5, 5)))).used == [(0.0, 0.0, 0.0, 0.0)]


async def test_a_refused_append_tallies_nothing_and_ends_no_hold(store: EventStore) -> None:
    await store.append(adding(1, Tally("a/1", amounts(1))))
    await store.hold("acme", hold("h", want(5, 10)))

    with pytest.raises(Aborted):
        await store.append(adding(1, Tally("a/1", amounts(1)), spent=["h"]))

    assert await store.tallied("acme", "a/1", "a/1") == [Tally("a/1", amounts(1))]
    assert not (await store.hold("acme", hold("other", want(5, 10)))).fits


async def test_a_hold_that_fits_exactly_is_held_and_the_next_is_not(store: EventStore) -> None:
    await store.append(adding(1, Tally("a/1", amounts(4))))

    first = await store.hold("acme", hold("one", want(6, 10)))
    second = await store.hold("acme", hold("two", want(1, 10)))

    assert (first.fits, first.used) == (True, [(4.0, 0.0, 0.0, 1.0)])
    assert (second.fits, second.used) == (False, [(4.0, 0.0, 0.0, 1.0)])
    assert (first.held, second.held) == ([(0.0,) * 4], [(6.0, 0.0, 0.0, 1.0)])


async def test_all_wants_of_a_hold_fit_or_none_is_held(store: EventStore) -> None:
    both = (want(5, 10), want(5, 4, account="small"))

    assert not (await store.hold("acme", hold("one", *both))).fits
    assert (await store.hold("acme", hold("two", want(10, 10)))).fits


async def test_a_hold_by_the_same_id_takes_the_place_of_the_one_before(store: EventStore) -> None:
    await store.hold("acme", hold("one", want(8, 10)))

    assert (await store.hold("acme", hold("one", want(10, 10)))).fits


async def test_what_was_held_is_free_again_once_it_is_spent(store: EventStore) -> None:
    await store.hold("acme", hold("one", want(8, 10)))
    await store.append(adding(1, Tally("a/1", amounts(3)), spent=["one"]))

    assert (await store.hold("acme", hold("two", want(7, 10)))).fits


async def test_a_hold_ends_with_its_time(store: EventStore, clock: Clock) -> None:
    await store.hold("acme", hold("one", want(8, 10)))
    clock.advance(MINUTE)

    assert (await store.hold("acme", hold("two", want(10, 10)))).fits


async def test_without_a_limit_everything_fits(store: EventStore) -> None:
    assert (await store.hold("acme", hold("one", want(1e12, None)))).fits


async def test_a_limit_of_the_second_figure_counts_as_well(store: EventStore) -> None:
    await store.append(adding(1, Tally("a/1", amounts(0, 0.75))))
    dear = Want("quota", "a/1", "a/1", amounts(1, 0.5), (None, 1.0, None, None))

    assert not (await store.hold("acme", hold("one", dear))).fits


async def test_of_many_holds_at_once_as_many_fit_as_there_is_room_for(store: EventStore) -> None:
    asked = [store.hold("acme", hold(f"h{n}", want(3, 10))) for n in range(20)]
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*asked)

    assert sum(each.fits for each in outcomes) == 3


async def test_many_appends_at_once_lose_no_tally(store: EventStore) -> None:
    names = ["a/1", "a/2", "b/1"]
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(
                store.append(
                    adding(n, *(Tally(each, amounts(1)) for each in names[:: 1 - 2 * (n % 2)]))
                )
                for n in range(200)
            )
        )

    found = await store.tallied("acme", "a/", "c")

    assert [(each.name, each.amounts[0]) for each in found] == [(name, 200.0) for name in names]


async def test_tallies_go_with_the_claim_of_whoever_writes(store: EventStore) -> None:
    work = Work("task", "w1", MINUTE)
    claim = await store.append(Append("acme", "task_1", 0, EVENT, work=work))
    tallies = [Tally("a/1", amounts(2))]
    await store.append(Append("acme", "task_1", 1, EVENT, claim=claim, tallies=tallies))
    await store.append(Append("acme", "task_2", 0, EVENT, tallies=tallies))

    assert await store.tallied("acme", "a/1", "a/1") == [Tally("a/1", (4.0, 0.0, 0.0, 2.0))]
