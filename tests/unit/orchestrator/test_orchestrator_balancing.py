from collections import Counter

from services.orchestrator.domain.balancing import Load, replica

PLACES = [Load(f"10.0.0.{n}:8082") for n in range(1, 5)]
KEYS = [f"session_{n}" for n in range(2_000)]


def test_a_call_without_a_session_goes_where_the_least_tokens_are() -> None:
    loads = [Load("a", 300), Load("b", 100), Load("c", 200)]

    assert replica(loads).address == "b"


def test_a_session_stays_where_it_is_while_that_is_not_hot() -> None:
    home = replica(PLACES, "session_1").address
    loads = [Load(each.address, 500 if each.address == home else 0) for each in PLACES]

    assert replica(loads, "session_1", hot_tokens=500).address == home
    assert replica(loads, "session_1", hot_tokens=499).address != home


def test_sessions_are_spread_evenly() -> None:
    found = Counter(replica(PLACES, key).address for key in KEYS)

    assert set(found) == {each.address for each in PLACES}
    assert min(found.values()) > 0.8 * len(KEYS) / len(PLACES)


def test_a_replica_that_goes_moves_its_own_sessions_alone() -> None:
    gone = PLACES[0].address
    before = {key: replica(PLACES, key).address for key in KEYS}
    after = {key: replica(PLACES[1:], key).address for key in KEYS}

    moved = {key for key in KEYS if before[key] != after[key]}

    assert moved == {key for key in KEYS if before[key] == gone}


def test_a_replica_that_failed_gets_nothing_while_another_is_well() -> None:
    loads = [Load("a", is_out=True), Load("b", 10_000)]

    assert replica(loads).address == "b"
    assert {replica(loads, key).address for key in KEYS[:20]} == {"b"}


def test_where_all_failed_all_come_into_question() -> None:
    loads = [Load("a", 5, is_out=True), Load("b", 3, is_out=True)]

    assert replica(loads).address == "b"
