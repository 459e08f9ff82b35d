"""What is kept of what was used lately."""

from services.tool_registry.usecases.lately import Lately


def test_what_was_used_last_is_kept() -> None:
    kept: Lately[str, int] = Lately(2)
    for name in "abac":
        kept.get(name) or kept.put(name, 1)

    assert [kept.get(name) for name in "abc"] == [1, None, 1]


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
