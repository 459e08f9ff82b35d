"""Chooses the object store's adapter by its URL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from services.chassis.objectstore import folder, refusals
from services.chassis.objectstore.memory import MemoryObjectStore
from services.chassis.objectstore.port import ObjectStore
from services.chassis.settings import AwsSettings


@asynccontextmanager
async def object_store(url: str, aws: AwsSettings) -> AsyncIterator[ObjectStore]:
    """The object store at `url` (`RUNPLANE_OBJECT_STORE`), until the context is left.

    `file:///DIR`, with DIR from the root; `s3://BUCKET` or `s3://BUCKET/PREFIX`; or `memory:`.

    Raises:
        InvalidArgument: `OBJECT_STORE_UNSUPPORTED`.
        FailedPrecondition: it cannot be used.
    """
    scheme, _, rest = url.partition(":")
    where = rest.removeprefix("//")
    if scheme == "memory":
        yield MemoryObjectStore()
    elif scheme == "file" and where.startswith("/"):
        yield await asyncio.to_thread(folder.opened, Path(unquote(where)))
    elif scheme == "s3" and where.strip("/"):
        from services.chassis.objectstore import s3  # noqa: PLC0415 - who needs none, loads none

        bucket, _, prefix = where.partition("/")
        yield s3.opened(bucket, prefix.strip("/"), aws)
    else:
        raise refusals.unsupported(f"{scheme}: is not supported")
