"""The stores that a suite has in a cluster, as servers of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.images.box import Told
from tests.servers.kafka import kafka
from tests.servers.moto import moto
from tests.servers.postgres import postgres
from tests.servers.redis import redis

BUCKET: Final = "values"


@contextmanager
def stores() -> Iterator[Told]:
    """All four, empty, and what a service is told of them."""
    with postgres() as events, redis() as hot, kafka() as bus, moto() as objects:
        objects.make(BUCKET)
        yield Told(
            {"RUNPLANE_MIGRATE": "never"},
            {
                "runplane_event_store": events.url,
                "runplane_hot_store": hot.url,
                "runplane_event_bus": bus.url,
                "runplane_object_store": f"s3://{BUCKET}",
                "aws_endpoint_url": f"http://127.0.0.1:{objects.port}",
                "aws_access_key_id": "id",
                "aws_secret_access_key": "secret",
            },
        )
