"""How often a server's lists are looked at."""

from services.tool_registry.adapters.mcp.bounds import RESTLESS_MOST
from services.tool_registry.adapters.mcp.rests import AT_ONCE, SUDDEN, Rests

LEAST = 5.0


def looks(rests: Rests, begin: float, count: int, *, has_changes: bool) -> list[float]:
    """The rests of a server that tells of changes without end."""
    found: list[float] = []
    now = begin
    for _ in range(count):
        found.append(rests.after(now, has_changes=has_changes))
        now += found[-1]
    return found


def test_the_first_changes_are_taken_at_once_and_the_rest_a_while_later() -> None:
    found = looks(Rests(LEAST), 0, 20, has_changes=True)

    assert found[: SUDDEN - 1] == [AT_ONCE] * (SUDDEN - 1)
    assert found[SUDDEN - 1] == LEAST
    assert found == sorted(found)
    assert found[-1] == RESTLESS_MOST


def test_a_server_that_tells_of_changes_which_are_none_is_not_looked_at_all_the_time() -> None:
    found = looks(Rests(LEAST), 0, 100, has_changes=False)

    assert sum(found) > 80 * LEAST


def test_a_change_that_comes_soon_after_a_look_is_taken_at_once() -> None:
    rests = Rests(LEAST)
    for look in range(100):
        rest = rests.after(look * LEAST, has_changes=False)

    assert rest == AT_ONCE


def test_a_server_that_was_calm_for_a_while_may_be_sudden_again() -> None:
    rests = Rests(LEAST)
    looks(rests, 0, 20, has_changes=True)

    found = looks(rests, 3600, 3, has_changes=True)

    assert found == [AT_ONCE] * 3
