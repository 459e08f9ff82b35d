"""What every event store promises of records, keys and messages: they go with the events."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from services.chassis.errors import Aborted, AlreadyExists
from services.chassis.eventbus.port import Message
from services.chassis.eventlog.port import (
    OUTBOX,
    Append,
    Attribute,
    Compare,
    Condition,
    EventStore,
    Every,
    Kept,
    Key,
    NewEvent,
    Not,
    Query,
    Record,
    Some,
    Work,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = timedelta(hours=24)
EVENT = [NewEvent("thing.happened.v1", NOW, b"a")]


class Clock(Protocol):
    """What these tests need of the clock."""

    def advance(self, by: timedelta) -> None: ...


def keep(number: int, attributes: Mapping[str, Attribute], tenant: str = "acme") -> Append:
    record = Record("task", f"task_{number}", attributes, b"body %d" % number)
    return Append(tenant, f"task_{number}", 0, EVENT, records=[record])


async def listed(store: EventStore, where: Condition | None = None) -> list[str]:
    found = await store.records(Query("acme", "task", where, is_descending=False))
    return [record.id.removeprefix("task_") for record in found]


async def test_a_record_is_read_back_as_it_was(store: EventStore) -> None:
    record = Record("task", "task_1", {"a": "ü", "n": 1.5, "is": True}, bytes(range(256)))
    await store.append(Append("acme", "task_1", 0, EVENT, records=[record]))

    assert await store.record("acme", "task", "task_1") == record
    assert await store.record("other", "task", "task_1") is None
    assert await store.record("acme", "agent", "task_1") is None
    assert list(await store.records(Query("acme", "task"))) == [record]


async def test_a_record_replaces_the_one_before(store: EventStore) -> None:
    first = Record("task", "task_1", {"state": "running"}, b"1")
    second = Record("task", "task_1", {"state": "completed"}, b"2")
    await store.append(Append("acme", "task_1", 0, EVENT, records=[first]))
    await store.append(Append("acme", "task_1", 1, EVENT, records=[second]))

    assert list(await store.records(Query("acme", "task"))) == [second]


async def test_a_refused_append_leaves_nothing_beside_it(store: EventStore) -> None:
    message = Message("events", "k", b"v")
    key = Key("task", "k1", "f1", DAY)
    record = Record("task", "task_1", {}, b"")
    refused = Append("acme", "task_1", 5, EVENT, records=[record], outbox=[message], key=key)

    with pytest.raises(Aborted):
        await store.append(refused)

    assert await store.record("acme", "task", "task_1") is None
    assert list(await store.outgoing()) == []
    assert await store.kept("acme", "task", "k1") is None


async def test_records_are_paged_both_ways(store: EventStore) -> None:
    for n in (3, 1, 2):
        await store.append(keep(n, {}))
    await store.append(keep(9, {}, tenant="other"))

    up = await store.records(Query("acme", "task", limit=2, is_descending=False))
    more = await store.records(Query("acme", "task", after="task_2", is_descending=False))
    down = await store.records(Query("acme", "task", after="task_3", limit=1))

    assert [record.id for record in up] == ["task_1", "task_2"]
    assert [record.id for record in more] == ["task_3"]
    assert [record.id for record in down] == ["task_2"]


async def test_ids_sort_by_their_bytes(store: EventStore) -> None:
    for record_id in ("task_b", "task_B", "task_a"):
        record = Record("task", record_id, {}, b"")
        await store.append(Append("acme", record_id, 0, EVENT, records=[record]))

    assert await listed(store) == ["B", "a", "b"]


async def test_every_tenants_records_of_a_kind_are_walked_in_order(store: EventStore) -> None:
    tenants = ["beta", "Acme", "acme", "acme-2", "ümlaut"]
    for tenant in tenants:
        for record_id in ("b", "B", "a"):
            record = Record("run", record_id, {"n": 1}, tenant.encode())
            other = Record("other", record_id, {}, b"")
            await store.append(Append(tenant, record_id, 0, EVENT, records=[record, other]))

    met: list[tuple[str, Record]] = []
    after = ("", "")
    while page := await store.every("run", after=after, limit=4):
        assert len(page) <= 4
        met += page
        after = (page[-1][0], page[-1][1].id)

    assert met == [
        (tenant, Record("run", record_id, {"n": 1}, tenant.encode()))
        for tenant in sorted(tenants)
        for record_id in ("B", "a", "b")
    ]
    assert list(await store.every("none")) == []


async def test_a_walk_goes_on_after_a_record_that_is_not_there(store: EventStore) -> None:
    for n in (1, 3):
        await store.append(keep(n, {}))
    await store.append(keep(2, {}, tenant="other"))

    found = await store.every("task", after=("acme", "task_2"))

    assert [(tenant, record.id) for tenant, record in found] == [
        ("acme", "task_3"),
        ("other", "task_2"),
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Compare("state", "=", "running"), "13"),
        (Compare("state", "!=", "running"), "2456"),
        (Compare("cost", ">", 1), "2"),
        (Compare("cost", ">=", 1.0), "12"),
        (Compare("cost", "<", 1.5), "1"),
        (Compare("cost", "<=", 2), "12"),
        (Compare("state", "<", "failed"), "2"),
        (Compare("is_late", "=", True), "3"),
        (Compare("is_late", "=", False), "4"),
        (Compare("cost", "=", "1"), ""),
        (Compare("labels.team", "=", "a'b\"c"), "5"),
        (Compare("nothing", "=", "x"), ""),
        (Not(Compare("state", "=", "running")), "2456"),
        (Every([Compare("state", "=", "running"), Compare("cost", "=", 1)]), "1"),
        (Some([Compare("cost", "=", 2), Compare("is_late", "=", True)]), "23"),
        (Every([Some([Compare("cost", ">", 0)]), Not(Compare("cost", "=", 2))]), "1"),
        (Every([]), "123456"),
        (Some([]), ""),
    ],
)
async def test_conditions_choose_records(store: EventStore, where: Condition, found: str) -> None:
    kept: list[dict[str, Attribute]] = [
        {"state": "running", "cost": 1},
        {"state": "completed", "cost": 2.0},
        {"state": "running", "is_late": True},
        {"state": "failed", "is_late": False},
        {"labels.team": "a'b\"c"},
        {"cost": "expensive"},
    ]
    for number, attributes in enumerate(kept, 1):
        await store.append(keep(number, attributes))

    assert "".join(await listed(store, where)) == found


async def test_a_key_stands_for_its_start_for_as_long_as_it_lasts(
    store: EventStore, clock: Clock
) -> None:
    await store.append(Append("acme", "s_1", 0, EVENT, key=Key("task", "k1", "f1", DAY)))
    with pytest.raises(AlreadyExists) as caught:
        await store.append(Append("acme", "s_2", 0, EVENT, key=Key("task", "k1", "f2", DAY)))
    during = await store.kept("acme", "task", "k1")
    clock.advance(DAY)
    after = await store.kept("acme", "task", "k1")
    await store.append(Append("acme", "s_3", 0, EVENT, key=Key("task", "k1", "f3", DAY)))

    assert caught.value.reason == "IDEMPOTENCY_KEY_TAKEN"
    assert (during, after) == (Kept("s_1", "f1"), None)
    assert await store.kept("acme", "task", "k1") == Kept("s_3", "f3")
    assert list(await store.read("acme", "s_2")) == []


async def test_keys_are_a_tenants_and_a_scopes_own(store: EventStore) -> None:
    key = Key("task", "k1", "f1", DAY)
    await store.append(Append("acme", "s_1", 0, EVENT, key=key))
    await store.append(Append("other", "s_1", 0, EVENT, key=key))
    await store.append(Append("acme", "s_2", 0, EVENT, key=Key("agent", "k1", "f1", DAY)))

    assert await store.kept("third", "task", "k1") is None


async def test_a_command_that_is_repeated_is_known_again_though_the_stream_has_moved_on(
    store: EventStore,
) -> None:
    key = Key("s_1", "signal_7", "f1", DAY)
    await store.append(Append("acme", "s_1", 0, EVENT))
    await store.append(Append("acme", "s_1", 1, EVENT, key=key))
    await store.append(Append("acme", "s_1", 2, EVENT))

    with pytest.raises(AlreadyExists) as repeated:
        await store.append(Append("acme", "s_1", 1, EVENT, key=key))
    with pytest.raises(Aborted) as late:
        await store.append(Append("acme", "s_1", 1, EVENT, key=replace(key, key="signal_8")))

    assert repeated.value.reason == "IDEMPOTENCY_KEY_TAKEN"
    assert late.value.reason == "SEQUENCE_CONFLICT"
    assert await store.kept("acme", "s_1", "signal_8") is None
    assert len(await store.read("acme", "s_1")) == 3


async def test_a_command_that_is_repeated_under_a_lost_claim_is_known_again(
    store: EventStore,
) -> None:
    key = Key("s_1", "signal_7", "f1", DAY)
    old = await store.append(Append("acme", "s_1", 0, EVENT, work=Work("task", "one", DAY)))
    await store.append(Append("acme", "s_1", 1, EVENT, claim=old, key=key))
    await store.append(Append("acme", "s_1", 2, EVENT, work=Work("task", "two", DAY)))

    with pytest.raises(AlreadyExists):
        await store.append(Append("acme", "s_1", 1, EVENT, claim=old, key=key))
    with pytest.raises(Aborted) as lost:
        await store.append(
            Append("acme", "s_1", 1, EVENT, claim=old, key=replace(key, key="signal_8"))
        )

    assert lost.value.reason == "CLAIM_LOST"


async def test_of_one_command_sent_many_times_at_once_one_is_done(store: EventStore) -> None:
    key = Key("s_1", "signal_7", "f1", DAY)

    results = await asyncio.gather(
        *(store.append(Append("acme", "s_1", 0, EVENT, key=key)) for _ in range(20)),
        return_exceptions=True,
    )

    reasons = sorted(getattr(each, "reason", "") for each in results)
    assert reasons == ["", *["IDEMPOTENCY_KEY_TAKEN"] * 19]
    assert len(await store.read("acme", "s_1")) == 1


async def test_of_thousands_of_keys_those_that_expire_give_way_to_new_ones(
    store: EventStore, clock: Clock
) -> None:
    async def put(first: int, last: int) -> None:
        keys = [Key("s_1", f"signal_{n}", "f", DAY) for n in range(first, last)]
        await asyncio.gather(
            *(store.append(Append("acme", f"s_{key.key}", 0, EVENT, key=key)) for key in keys)
        )

    await put(0, 2_000)
    clock.advance(DAY / 2)
    await put(2_000, 3_000)
    clock.advance(DAY / 2)
    await put(3_000, 3_600)

    assert await store.kept("acme", "s_1", "signal_1999") is None
    for n in (2_000, 2_999, 3_000, 3_599):
        assert await store.kept("acme", "s_1", f"signal_{n}") == Kept(f"s_signal_{n}", "f")


async def test_messages_go_out_in_the_order_of_commits_until_they_are_told(
    store: EventStore,
) -> None:
    first = [Message("events", "k", b"1", {"ce_id": "s_1/1"}), Message("events", "k", b"2")]
    await store.append(Append("acme", "s_1", 0, EVENT, outbox=first))
    await store.append(Append("acme", "s_1", 1, EVENT, outbox=[Message("other", "k", b"3")]))
    found = await store.outgoing()
    await store.told([found[0].number])

    assert [each.message for each in found] == [*first, Message("other", "k", b"3")]
    assert [each.message.value for each in await store.outgoing(limit=1)] == [b"2"]


async def test_messages_after_a_number_are_those_that_follow_it(store: EventStore) -> None:
    messages = [Message("events", "k", b"%d" % n) for n in range(3)]
    await store.append(Append("acme", "s_1", 0, EVENT, outbox=messages))
    first, *_ = await store.outgoing(limit=1)

    assert [each.message.value for each in await store.outgoing(after=first.number)] == [b"1", b"2"]


async def test_the_backlog_counts_what_is_to_be_told_by_topic(store: EventStore) -> None:
    messages = [Message(topic, "k", b"") for topic in ("a", "b", "a")]
    await store.append(Append("acme", "s_1", 0, EVENT, outbox=messages))
    before = await store.backlog()
    await store.told([each.number for each in await store.outgoing() if each.message.topic == "b"])

    assert dict(before) == {"a": 2, "b": 1}
    assert dict(await store.backlog()) == {"a": 2}


async def test_who_waits_for_the_outbox_hears_of_an_append_that_fills_it(store: EventStore) -> None:
    waiting = asyncio.ensure_future(store.rung(OUTBOX))
    await asyncio.sleep(0)
    await store.append(Append("acme", "s_1", 0, EVENT))
    assert not waiting.done()
    await store.append(Append("acme", "s_1", 1, EVENT, outbox=[Message("events", "k", b"1")]))

    async with asyncio.timeout(5):
        await waiting


@pytest.mark.parametrize(
    ("max_bytes", "count"), [(None, 5), (1000, 5), (25, 3), (20, 3), (19, 2), (0, 1)]
)
@pytest.mark.parametrize("is_descending", [True, False])
async def test_a_page_ends_with_the_record_that_takes_it_over_its_bytes(
    store: EventStore, max_bytes: int | None, count: int, is_descending: bool
) -> None:
    records = [Record("task", f"task_{n}", {}, b"x" * 10) for n in range(6)]
    await store.append(Append("acme", "s", 0, EVENT, records=records))

    query = Query("acme", "task", None, "", 5, is_descending, max_bytes)
    found = [record.id for record in await store.records(query)]

    ids = sorted((record.id for record in records), reverse=is_descending)
    assert found == ids[:count]
