"""Whether the hot store, the object store and the event buses can be reached."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from services.chassis.errors import NotFound, ServiceError
from services.chassis.eventbus.kafka_url import parsed
from services.chassis.inspection.checks.events import clock, utc_now, writable
from services.chassis.inspection.checks.ports import disk
from services.chassis.inspection.effective import masked
from services.chassis.inspection.finding import Finding, fine, refused, wrong
from services.chassis.objectstore.port import reference_to
from services.chassis.settings import AwsSettings

SECONDS: Final = 3.0
_NOBODY: Final = "runplane-doctor"
"""A tenant that nobody is."""


async def hot_store(url: str, *, now: Callable[[], datetime] = utc_now) -> list[Finding]:
    """The hot store at this URL."""
    if url == "memory:":
        return [fine("hot store", "in memory: one process of each service")]
    from redis.asyncio import Redis, RedisCluster  # noqa: PLC0415 - who needs none, loads none
    from redis.exceptions import (  # noqa: PLC0415
        AuthenticationError,
        RedisClusterException,
        RedisError,
    )

    where, plain = masked(url), url.replace("redis+cluster:", "redis:", 1)
    kind: Any = Redis if plain == url else RedisCluster
    options = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
    try:
        async with kind.from_url(plain, **options) as client:
            await client.ping()
            told = await client.execute_command("TIME", **_anywhere(plain != url))
    except AuthenticationError:
        fix = "check user and password of RUNPLANE_HOT_STORE"
        return [wrong("hot store", f"{where} refuses this user or password", fix)]
    except (RedisError, RedisClusterException, OSError, ValueError, AttributeError) as error:
        fix = "start Redis, or check RUNPLANE_HOT_STORE; services start without, and are slower"
        message = f"nothing answers at {where} ({type(error).__name__})"
        return [wrong("hot store", message, fix)]
    seconds, micros = next(iter(told.values())) if isinstance(told, dict) else told
    there = datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC)
    return [fine("hot store", f"{where} answers"), clock("the hot store", there, now())]


def _anywhere(is_cluster: bool) -> Mapping[str, Any]:
    return {"target_nodes": "random"} if is_cluster else {}


async def object_store(url: str | None, aws: AwsSettings) -> list[Finding]:
    """The object store at this URL, if there is one."""
    if url is None or url == "memory:":
        return [fine("object store", "there is none" if url is None else "in memory")]
    if url.startswith("file:"):
        return await asyncio.to_thread(_folder, Path(unquote(urlsplit(url).path)))
    from services.chassis.objectstore import s3  # noqa: PLC0415 - who needs none, loads none

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    try:
        await s3.opened(bucket, prefix.strip("/"), aws).get(_NOBODY, reference_to(_NOBODY.encode()))
    except NotFound:
        pass
    except ServiceError as error:
        fix = "check the bucket of RUNPLANE_OBJECT_STORE, AWS_ENDPOINT_URL, AWS_REGION and the keys"
        return [wrong("object store", f"{masked(url)}: {error.message}", fix)]
    return [fine("object store", f"{masked(url)} answers")]


def _folder(path: Path) -> list[Finding]:
    if (obstacle := writable("object store", path)) is not None:
        return [obstacle]
    return [fine("object store", f"{path} can be used"), disk("disk", path)]


async def event_bus(alias: str, url: str, username: str, password: str) -> list[Finding]:
    """The event bus with this alias."""
    check = f"event bus {alias}"
    if url == "memory:":
        return [fine(check, "in memory: one process of the workflow service")]
    from services.chassis.eventbus.kafka import servers_of  # noqa: PLC0415
    from services.chassis.eventbus.kafka_errors import FAILURES  # noqa: PLC0415

    where = masked(url)
    try:
        brokers = await servers_of(parsed(url, username=username, password=password))
    except ServiceError as error:
        return [refused(check, error)]
    except FAILURES as error:
        fix = "start Kafka, or check the URL, user and password; events wait in the outbox"
        return [wrong(check, f"{where} cannot be used ({type(error).__name__})", fix)]
    return [fine(check, f"{where} answers, with {brokers} broker(s)")]
