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
            {
                "RUNPLANE_MIGRATE": "never",
                "RUNPLANE_OBJECT_STORE": f"s3://{BUCKET}",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{objects.port}",
                "AWS_ACCESS_KEY_ID": "id",
            },
            {
                "runplane_event_store": events.url,
                "runplane_hot_store": hot.url,
                "runplane_event_bus": bus.url,
                "aws_secret_access_key": "secret",
            },
        )
