"""What every store of definitions does, whichever event store it is on."""

import asyncio

import pytest
from runplane.workflow.v1 import definitions_pb2 as pb

from services.chassis.errors import Aborted, Internal, NotFound, ResourceExhausted, ServiceError
from services.chassis.eventlog.port import Compare
from services.workflow.domain.definition import Definition
from services.workflow.domain.language import outcome
from tests.contract.workflow.conftest import Place


def defined(name: str = "order", first: str = "a") -> Definition:
    text = f"name: {name}\ninitial: {first}\nstate_machine: {{{first}: {{transitions: [z]}}}}"
    definition = outcome(text).definition
    assert definition is not None
    return definition


async def add(place: Place, definition: Definition, *, tenant: str = "acme") -> Definition:
    return await place.definitions.add(tenant, "ann", definition)


async def test_versions_count_from_one_and_the_newest_is_meant_by_none(place: Place) -> None:
    one, two = await add(place, defined()), await add(place, defined(first="b"))
    store = place.elsewhere().definitions

    assert (one.version, two.version) == (1, 2)
    assert await store.get("acme", "order") == two
    assert await store.get("acme", "order", 1) == one
    assert await store.get("acme", "order", 2) == two


async def test_the_newest_document_again_is_the_same_version(place: Place) -> None:
    await add(place, defined(first="a"))
    two = await add(place, defined(first="b"))

    again = await place.elsewhere().definitions.add("acme", "bob", defined(first="b"))
    older = await add(place, defined(first="a"))

    assert (again, older.version) == (two, 3)


async def test_a_version_is_shown_with_who_stored_it_and_when(place: Place) -> None:
    await add(place, defined())

    shown = pb.Definition.FromString(await place.definitions.shown("acme", "order"))

    assert (shown.name, shown.version, shown.owner) == ("order", 1, "ann")
    assert shown.create_time.seconds == int(place.clock().timestamp())
    assert list(shown.states) == ["a", "z"]


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("other", 0, "DEFINITION_NOT_FOUND"),
        ("other", 1, "DEFINITION_NOT_FOUND"),
        ("order", 2, "DEFINITION_VERSION_NOT_FOUND"),
        ("", 0, "DEFINITION_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_not_found(
    place: Place, name: str, version: int, reason: str
) -> None:
    await add(place, defined())

    for look in (place.definitions.get, place.definitions.shown):
        with pytest.raises(NotFound) as caught:
            await look("acme", name, version)
        assert caught.value.reason == reason


async def test_definitions_are_each_tenants_own(place: Place) -> None:
    await add(place, defined())
    theirs = await add(place, defined(first="b"), tenant="best")

    assert theirs.version == 1
    assert await place.elsewhere().definitions.get("best", "order") == theirs
    with pytest.raises(NotFound):
        await place.definitions.get("none", "order")
    assert [name for name, _ in await place.definitions.page("none", None, after="", limit=9)] == []


async def test_of_two_that_store_a_version_at_once_one_wins(place: Place) -> None:
    await add(place, defined(first="a"))
    others = [place.elsewhere().definitions for _ in range(2)]

    results = await asyncio.gather(
        *(
            store.add("acme", "ann", defined(first=first))
            for store, first in zip(others, "bc", strict=True)
        ),
        return_exceptions=True,
    )

    lost = [each for each in results if isinstance(each, Aborted)]
    won = [each.version for each in results if isinstance(each, Definition)]
    assert sorted(won) in ([2], [2, 3])  # One may have come after the other.
    assert [each.reason for each in lost] == ["DEFINITION_CONFLICT"] * (2 - len(won))


async def test_there_are_only_so_many_definitions_and_versions(place: Place) -> None:
    for name in ("one", "two", "three"):
        await add(place, defined(name))
    for first in "bc":
        await add(place, defined("one", first))

    with pytest.raises(ServiceError) as crowded:
        await add(place, defined("four"))
    with pytest.raises(ServiceError) as long:
        await add(place, defined("one", "d"))

    assert isinstance(crowded.value, ResourceExhausted)
    assert crowded.value.reason == "TOO_MANY_DEFINITIONS"
    assert long.value.reason == "TOO_MANY_DEFINITION_VERSIONS"
    assert (await add(place, defined("one", "c"))).version == 3
    assert (await add(place, defined("four"), tenant="best")).version == 1


async def test_lists_show_the_newest_versions_by_name(place: Place) -> None:
    for name in ("c", "a", "b"):
        await add(place, defined(name))
    await add(place, defined("a", "b"))

    first = await place.definitions.page("acme", None, after="", limit=2)
    second = await place.definitions.page("acme", None, after="b", limit=2)

    shown = [pb.Definition.FromString(body) for _, body in (*first, *second)]
    assert [(each.name, each.version) for each in shown] == [("a", 2), ("b", 1), ("c", 1)]


async def test_lists_are_filtered_by_name(place: Place) -> None:
    for name in ("a", "b"):
        await add(place, defined(name))

    found = await place.definitions.page("acme", Compare("name", "=", "b"), after="", limit=9)

    assert [name for name, _ in found] == ["b"]


@pytest.mark.parametrize("kind", ["definition", "definition/order"])
@pytest.mark.parametrize(
    "body", [b"\xff\xff", b"", pb.Definition(name="order").SerializeToString()]
)
async def test_what_cannot_be_read_is_a_clear_error(place: Place, kind: str, body: bytes) -> None:
    await add(place, defined())
    name = "order" if kind == "definition" else "000000000001"
    await place.tampering.record(("acme", name), kind, body)

    with pytest.raises(Internal) as caught:
        await place.elsewhere().definitions.get("acme", "order", int(kind != "definition"))

    assert (caught.value.reason, caught.value.metadata["definition"]) == (
        "DEFINITION_CORRUPT",
        "order",
    )
