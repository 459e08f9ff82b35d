"""What the object stores that outlive a process promise beside."""

import asyncio
from typing import Protocol

import pytest

from services.chassis.errors import Internal
from services.chassis.objectstore.open import object_store
from services.chassis.objectstore.port import Reference
from services.chassis.settings import AwsSettings

BODY = b"twelve bytes" * 10_000
SPOILT = BODY.replace(b"t", b"T")


class Place(Protocol):
    url: str
    aws: AwsSettings

    def spoil(self, tenant: str, reference: Reference, body: bytes) -> None: ...


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where they keep their values."""
    found: Place = request.getfixturevalue(request.param)
    return found


async def test_another_process_reads_what_one_has_put(place: Place) -> None:
    async with object_store(place.url, place.aws) as one:
        reference = await one.put("default", BODY)
    async with object_store(place.url, place.aws) as other:
        body = await other.get("default", reference)

    assert body == BODY


async def test_two_processes_may_put_the_same_at_once(place: Place) -> None:
    async with object_store(place.url, place.aws) as one, object_store(place.url, place.aws) as two:
        puts = [store.put("default", BODY) for store in (one, two) * 8]
        references = await asyncio.gather(*puts)
        body = await two.get("default", references[0])

    assert len(set(references)) == 1
    assert body == BODY


@pytest.mark.parametrize("instead", [SPOILT, BODY[:-1], BODY + b"!", b""])
async def test_what_was_damaged_is_not_handed_out_whole(place: Place, instead: bytes) -> None:
    async with object_store(place.url, place.aws) as store:
        reference = await store.put("default", BODY)
        place.spoil("default", reference, instead)

        with pytest.raises(Internal) as caught:
            await store.get("default", reference)

    assert caught.value.reason == "OBJECT_DAMAGED"


async def test_putting_again_repairs_what_was_cut(place: Place) -> None:
    async with object_store(place.url, place.aws) as store:
        reference = await store.put("default", BODY)
        place.spoil("default", reference, BODY[:100])
        await store.put("default", BODY)
        body = await store.get("default", reference)

    assert body == BODY
