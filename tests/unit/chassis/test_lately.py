"""What was used last is kept."""

from services.chassis.lately import Lately


def test_what_was_not_used_the_longest_makes_room() -> None:
    forgotten: list[int] = []
    kept: Lately[str, int] = Lately(2, forget=forgotten.append)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.get("a")
    kept.put("c", 3)

    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    assert forgotten == [2]


def test_a_value_takes_the_place_of_the_one_of_its_name() -> None:
    forgotten: list[int] = []
    kept: Lately[str, int] = Lately(2, forget=forgotten.append)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.put("a", 3)

    assert list(kept.values()) == [2, 3]
    assert forgotten == []


def test_what_is_dropped_is_gone_and_may_be_dropped_again() -> None:
    kept: Lately[str, int] = Lately(2)
    kept.put("a", 1)
    kept.drop("a")
    kept.drop("a")

    assert kept.get("a") is None


def test_an_owner_pushes_out_only_what_is_its_own() -> None:
    kept: Lately[tuple[str, int], int] = Lately(8, owner=lambda key: key[0])
    kept.put(("a", 0), 1)
    for number in range(100):
        kept.put(("b", number), 1)

    assert kept.get(("a", 0)) == 1
    assert [kept.get(("b", number)) for number in (92, 93, 99)] == [None, 1, 1]
    assert len(kept) == 8


def test_all_owners_together_have_no_more_than_there_may_be() -> None:
    kept: Lately[tuple[str, int], int] = Lately(8, owner=lambda key: key[0])
    for number in range(100):
        kept.put((str(number), 0), 1)
    kept.drop(("99", 0))

    assert len(kept) == 7
    assert len(kept._owned) == 7


def test_with_weights_there_is_room_for_so_much_together() -> None:
    kept: Lately[str, str] = Lately(10, weigh=len)
    kept.put("a", "1234")
    kept.put("b", "1234")
    kept.put("c", "123")
    kept.put("b", "12")

    assert list(kept.values()) == ["123", "12"]
    assert kept.weight == 5


def test_what_is_heavier_than_all_there_is_room_for_is_not_kept() -> None:
    kept: Lately[str, str] = Lately(4, weigh=len)
    kept.put("a", "12345")

    assert (kept.get("a"), kept.weight) == (None, 0)


def test_an_owner_that_weighs_much_pushes_out_only_what_is_its_own() -> None:
    kept: Lately[tuple[str, int], str] = Lately(100, owner=lambda key: key[0], weigh=len)
    kept.put(("a", 0), "x" * 20)
    for number in range(50):
        kept.put(("b", number), "x" * 10)

    assert kept.get(("a", 0)) is not None
    assert [number for number in range(50) if kept.get(("b", number))] == list(range(42, 50))
