"""Any history of calls leaves an event store as a dictionary of lists would be."""

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import Append, EventStore, NewEvent, Snapshot

NOW = datetime(2026, 1, 2, tzinfo=UTC)

commands = st.tuples(
    st.sampled_from(["s_1", "s_2", "s_3"]),
    st.integers(0, 4).map(lambda n: max(0, n - 3)),  # Mostly right; else one too far.
    st.lists(st.binary(max_size=8), min_size=1, max_size=3),
    st.none() | st.binary(max_size=8),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(history=st.lists(commands, max_size=25))
async def test_any_history_of_appends_agrees_with_the_model(
    store: EventStore, history: list[tuple[str, int, list[bytes], bytes | None]]
) -> None:
    tenant = uuid4().hex  # The store is the same for all examples.
    streams: dict[str, list[bytes]] = {}
    snapshots: dict[str, Snapshot] = {}
    committed: list[bytes] = []
    start = 0
    while page := await store.read_all(after=start):
        start = page[-1].position

    for stream, error, bodies, snapshot in history:
        end = len(streams.get(stream, []))
        new = [NewEvent("thing.happened.v1", NOW, body) for body in bodies]
        try:
            await store.append(Append(tenant, stream, end + error, new, snapshot))
        except Aborted:
            assert error
            continue
        assert not error
        streams.setdefault(stream, []).extend(bodies)
        committed += bodies
        if snapshot is not None:
            snapshots[stream] = Snapshot(end + len(bodies), snapshot)

    for stream in ("s_1", "s_2", "s_3"):
        found = await store.read(tenant, stream)
        assert [event.body for event in found] == streams.get(stream, [])
        assert [event.sequence for event in found] == list(range(1, len(found) + 1))
        assert await store.snapshot(tenant, stream) == snapshots.get(stream)
    assert [event.body for event in await store.read_all(after=start)] == committed
