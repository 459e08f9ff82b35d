"""An object store in a bucket of S3, or of what speaks its protocol."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import (
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from services.chassis.objectstore import refusals
from services.chassis.objectstore.names import parts, span
from services.chassis.objectstore.port import MAX_BYTES, Reference, reference_to

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

    from services.chassis.settings import AwsSettings

# Putting is safe to repeat. Within the client, because what it sends goes to no other service.
_RETRY: Final["RetryConfig"] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=50),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
_TIMEOUT: Final = timedelta(seconds=10)  # Of one request.
_WHOLE_SECONDS: Final = 20.0  # Of a value, with all that is tried again.


class S3ObjectStore:
    """See `ObjectStore`. A value that is there already is not sent again."""

    def __init__(self, store: S3Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    async def put(self, tenant: str, body: bytes) -> Reference:
        """See `ObjectStore`."""
        if len(body) > MAX_BYTES:
            raise refusals.too_large(len(body))
        reference = await asyncio.to_thread(reference_to, body)
        key = "/".join(parts(tenant, reference))
        async with self._answering():
            if await self._size(key) != len(body):
                try:
                    await obstore.put_async(self._store, key, body, use_multipart=False)
                except FileNotFoundError:
                    raise refusals.unavailable(f"there is no bucket {self._bucket}") from None
        return reference

    async def get(
        self, tenant: str, reference: Reference, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """See `ObjectStore`."""
        key = "/".join(parts(tenant, reference))
        start, end = span(reference, offset, length)
        async with self._answering():
            size_bytes, body = await self._range(key, start, end)
        if size_bytes is None:
            raise refusals.not_found(reference)
        if size_bytes != reference.size_bytes or len(body) != end - start:
            raise refusals.damaged(reference)
        is_whole = len(body) == reference.size_bytes
        if is_whole and await asyncio.to_thread(reference_to, body) != reference:
            raise refusals.damaged(reference)
        return body

    async def _range(self, key: str, start: int, end: int) -> tuple[int | None, bytes]:
        """The size of the value, None if there is none, and these bytes of it."""
        if start == end:
            return await self._size(key), b""  # S3 has no empty ranges.
        try:
            result = await obstore.get_async(self._store, key, options={"range": (start, end)})
            return int(result.meta["size"]), bytes(await result.bytes_async())
        except FileNotFoundError:
            return None, b""
        except GenericError:
            size_bytes = await self._size(key)
            if size_bytes is None or size_bytes >= end:
                raise
            return size_bytes, b""  # It is shorter than it should be, and S3 refused the range.

    async def _size(self, key: str) -> int | None:
        """Of the value under this key; None if there is none."""
        try:
            return int((await obstore.head_async(self._store, key))["size"])
        except FileNotFoundError:
            return None

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Within the time there is; the client's errors as ours, and without its words."""
        try:
            async with asyncio.timeout(_WHOLE_SECONDS):
                yield
        except TimeoutError:
            raise refusals.unavailable(f"nothing came in {_WHOLE_SECONDS:.0f} s") from None
        except (PermissionDeniedError, UnauthenticatedError):
            why = f"it refuses these credentials for bucket {self._bucket}"
            raise refusals.unavailable(why) from None
        except (BaseError, OSError) as error:
            raise refusals.unavailable(type(error).__name__) from None


def opened(bucket: str, prefix: str, aws: "AwsSettings") -> S3ObjectStore:
    """The store below `prefix` in a bucket, which has to be there. Nothing is asked of S3 yet."""
    client: ClientConfig = {
        "allow_http": (aws.endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=2),
        "timeout": _TIMEOUT,
    }
    config: S3Config = {"region": aws.chosen_region}
    if aws.endpoint:
        config["endpoint"] = aws.endpoint
    if aws.access_key_id and aws.secret_access_key:
        config["access_key_id"] = aws.access_key_id
        config["secret_access_key"] = aws.secret_access_key.get_secret_value()
    if aws.session_token:
        config["session_token"] = aws.session_token.get_secret_value()
    where = prefix or None
    store = S3Store(bucket, prefix=where, config=config, client_options=client, retry_config=_RETRY)
    return S3ObjectStore(store, bucket)
