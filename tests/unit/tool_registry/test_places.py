"""Places for calls: whose limit is reached, and that all of them come back."""

from datetime import timedelta

import pytest

from services.chassis.errors import ResourceExhausted
from services.tool_registry.usecases.places import Places

LATER = timedelta(milliseconds=250)


def limit_of(places: Places, tenant: str = "a", name: str = "x", of_tool: int = 2) -> str:
    """The limit that refuses a call; empty if none does."""
    try:
        places.take(tenant, name, of_tool)
    except ResourceExhausted as error:
        return error.metadata["limit"]
    return ""


@pytest.fixture
def places() -> Places:
    """Four places, of which a tenant may have three."""
    return Places(total=4, of_tenant=3, retry_after=LATER)


def test_a_tool_has_so_many(places: Places) -> None:
    assert [limit_of(places) for _ in range(3)] == ["", "", "tool"]


def test_who_is_refused_is_told_when_to_come_back(places: Places) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        places.take("a", "x", 0)

    assert (caught.value.reason, caught.value.retry_after) == ("TOOLS_OVERLOADED", LATER)
    assert caught.value.metadata == {"tool": "x", "limit": "tool", "most": "0"}


def test_a_tools_places_are_a_tenants_own(places: Places) -> None:
    assert [limit_of(places, tenant) for tenant in "aabb"] == [""] * 4


def test_no_tenant_takes_all(places: Places) -> None:
    assert [limit_of(places, "a", name) for name in "wxyz"] == ["", "", "", "tenant"]
    assert limit_of(places, "b") == ""


def test_there_are_so_many_in_all(places: Places) -> None:
    assert [limit_of(places, tenant) for tenant in "abcde"] == ["", "", "", "", "service"]


def test_a_call_that_is_refused_takes_none(places: Places) -> None:
    for name in "wxyz":
        limit_of(places, "a", name)

    assert limit_of(places, "b", "z") == ""


def test_a_place_that_is_given_back_is_free_and_nothing_is_kept_of_it(places: Places) -> None:
    for _ in range(9):
        back = [places.take("a", name, 2) for name in "xxy"]
        for give_back in back:
            give_back()

    assert places._taken == {}
