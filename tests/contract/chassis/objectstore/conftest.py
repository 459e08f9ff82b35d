"""The adapters under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.objectstore.names import parts
from services.chassis.objectstore.open import object_store
from services.chassis.objectstore.port import ObjectStore, Reference
from services.chassis.settings import AwsSettings
from tests.servers.moto import Moto
from tests.servers.moto import moto as moto_server


@dataclass(frozen=True)
class Place:
    """A store's URL, and how its contents are spoilt behind its back."""

    url: str
    aws: AwsSettings
    spoil: Callable[[str, Reference, bytes], None]


@pytest.fixture
def memory() -> Place:
    """The store in this process; `spoil` is told the store by `store`."""
    return Place("memory:", AwsSettings(), lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    """A folder."""

    def spoil(tenant: str, reference: Reference, body: bytes) -> None:
        tmp_path.joinpath("large values", *parts(tenant, reference)).write_bytes(body)

    return Place(f"file://{tmp_path}/large%20values", AwsSettings(), spoil)


@pytest.fixture(scope="session")
def server() -> Iterator[Moto]:
    """S3 for all tests."""
    with moto_server() as running:
        yield running


@pytest.fixture
def s3(server: Moto) -> Place:
    """A bucket."""
    bucket = f"test-{uuid4().hex[:12]}"
    server.make(bucket)

    def spoil(tenant: str, reference: Reference, body: bytes) -> None:
        server.write(bucket, "/".join(("some/prefix", *parts(tenant, reference))), body)

    return Place(f"s3://{bucket}/some/prefix", server.aws, spoil)


@pytest.fixture(params=["memory", "folder", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where each adapter keeps its values."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(place: Place) -> AsyncIterator[ObjectStore]:
    """An empty store of each adapter."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(object_store(place.url, place.aws))
