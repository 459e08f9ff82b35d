"""What becomes of a service's large values when S3 goes away."""

from collections.abc import Iterator

import pytest

from services.chassis.errors import Unavailable
from services.chassis.objectstore.open import object_store
from services.chassis.objectstore.port import reference_to
from tests.servers.moto import Moto
from tests.servers.moto import moto as moto_server

BODY = b"x" * 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server() as running:
        running.make("values")
        yield running


async def test_a_bucket_that_is_not_there_is_named(server: Moto) -> None:
    async with object_store("s3://no-such-bucket", server.aws) as store:
        with pytest.raises(Unavailable) as caught:
            await store.put("default", BODY)

    assert caught.value.reason == "OBJECT_STORE_UNAVAILABLE"
    assert "no-such-bucket" in caught.value.message


async def test_while_s3_is_away_the_store_is_unavailable_and_shows_no_secret(server: Moto) -> None:
    async with object_store("s3://values", server.aws) as store:
        reference = await store.put("default", BODY)
        server.stop()
        with pytest.raises(Unavailable) as put:
            await store.put("default", BODY)
        with pytest.raises(Unavailable) as got:
            await store.get("default", reference)
        server.start()
        server.make("values")
        again = await store.put("default", BODY)

    assert [each.value.reason for each in (put, got)] == ["OBJECT_STORE_UNAVAILABLE"] * 2
    assert "secret" not in put.value.message + got.value.message
    assert again == reference_to(BODY)
