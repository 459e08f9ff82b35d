"""What every object store promises."""

import asyncio
import hashlib
import random

import pytest

from services.chassis.errors import NotFound, ResourceExhausted
from services.chassis.objectstore.port import MAX_BYTES, ObjectStore, Reference, reference_to

BODY = random.Random(1).randbytes(100_000)


@pytest.mark.parametrize("size_bytes", [0, 1, 65_537, 6 * 1024 * 1024])
async def test_values_of_any_size_come_back(store: ObjectStore, size_bytes: int) -> None:
    body = random.Random(size_bytes).randbytes(size_bytes)
    reference = await store.put("default", body)

    assert reference == Reference(hashlib.sha256(body).hexdigest(), size_bytes)
    assert await store.get("default", reference) == body


async def test_the_same_value_is_the_same_object(store: ObjectStore) -> None:
    first = await store.put("default", BODY)
    second = await store.put("default", BODY)

    assert first == second
    assert await store.get("default", first) == BODY


async def test_values_put_at_once_are_all_kept(store: ObjectStore) -> None:
    bodies = [BODY + bytes([n % 8]) for n in range(32)]
    references = await asyncio.gather(*(store.put("default", body) for body in bodies))

    assert [await store.get("default", each) for each in references] == bodies


@pytest.mark.parametrize(
    ("offset", "length", "start", "end"),
    [
        (0, 10, 0, 10),
        (99_990, 10, 99_990, 100_000),
        (99_990, 1_000, 99_990, 100_000),
        (50, None, 50, 100_000),
        (100_000, 10, 0, 0),
        (200_000, None, 0, 0),
        (7, 0, 0, 0),
        (-5, -5, 0, 0),
    ],
)
async def test_a_part_of_a_value_is_what_there_is_of_it(
    store: ObjectStore, offset: int, length: int | None, start: int, end: int
) -> None:
    reference = await store.put("default", BODY)

    assert await store.get("default", reference, offset=offset, length=length) == BODY[start:end]


@pytest.mark.parametrize("length", [None, 0, 10])
async def test_what_was_never_put_is_not_found(store: ObjectStore, length: int | None) -> None:
    with pytest.raises(NotFound) as caught:
        await store.get("default", reference_to(b"never"), length=length)

    assert caught.value.reason == "OBJECT_NOT_FOUND"


@pytest.mark.parametrize("tenant", ["other", "Default", "default/", "../tenant.default", "", "é\0"])
async def test_no_tenant_reads_anothers_values(store: ObjectStore, tenant: str) -> None:
    reference = await store.put("default", BODY)
    own = await store.put(tenant, b"own")

    with pytest.raises(NotFound):
        await store.get(tenant, reference)
    assert await store.get(tenant, own) == b"own"


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "AB" * 32, "ab" * 32 + "\n", "ab" * 31])
async def test_what_is_no_hash_names_nothing(store: ObjectStore, sha256: str) -> None:
    with pytest.raises(NotFound) as caught:
        await store.get("default", Reference(sha256, 5))

    assert caught.value.reason == "OBJECT_NOT_FOUND"


async def test_a_value_that_is_too_large_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        await store.put("default", bytes(MAX_BYTES + 1))

    assert caught.value.reason == "OBJECT_TOO_LARGE"
    assert caught.value.metadata["limit_bytes"] == str(MAX_BYTES)


async def test_a_wait_that_was_given_up_leaves_no_half_value(store: ObjectStore) -> None:
    waiting = asyncio.ensure_future(store.put("default", BODY))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    reference = await store.put("default", BODY)

    assert await store.get("default", reference) == BODY


async def test_a_wrong_size_is_not_believed(store: ObjectStore) -> None:
    reference = await store.put("default", BODY)

    with pytest.raises(Exception, match="is not what was kept") as caught:
        await store.get("default", Reference(reference.sha256, 99), length=10)
    assert getattr(caught.value, "reason", "") == "OBJECT_DAMAGED"
