"""An object store in a local folder: a file for each value, written whole or not at all."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Final, TypeVar
from uuid import uuid4

from services.chassis.errors import FailedPrecondition
from services.chassis.objectstore import refusals
from services.chassis.objectstore.names import parts, span
from services.chassis.objectstore.port import MAX_BYTES, Reference, reference_to

_UNFINISHED: Final = "unfinished"
_ABANDONED_SECONDS: Final = 3600.0  # Nobody writes for so long: a crash left it behind.
_OWNER_ONLY: Final = 0o700

Result = TypeVar("Result")


class FolderObjectStore:
    """See `ObjectStore`. Several processes may use one folder. Files are read and written on
    threads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, tenant: str, body: bytes) -> Reference:
        """See `ObjectStore`."""
        if len(body) > MAX_BYTES:
            raise refusals.too_large(len(body))
        return await _on_a_thread(lambda: self._put(tenant, body))

    async def get(
        self, tenant: str, reference: Reference, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """See `ObjectStore`."""
        path = self._root.joinpath(*parts(tenant, reference))
        start, end = span(reference, offset, length)
        return await _on_a_thread(lambda: _read(path, reference, start, end))

    def _put(self, tenant: str, body: bytes) -> Reference:
        reference = reference_to(body)
        path = self._root.joinpath(*parts(tenant, reference))
        path.parent.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        if not _holds(path, body):
            fresh = self._root / _UNFINISHED / uuid4().hex
            try:
                _write(fresh, body)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
        # Who found it there cannot know whether the one who wrote it has come so far.
        for folder in (path.parent, path.parent.parent, self._root):
            _settle(folder)
        return reference


def opened(root: Path) -> FolderObjectStore:
    """The store in this folder, which is made if need be.

    Raises:
        FailedPrecondition: `OBJECT_STORE_UNUSABLE`; the folder cannot be used.
    """
    unfinished = root / _UNFINISHED
    try:
        unfinished.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        _settle(root.parent)
        for left in unfinished.iterdir():
            with suppress(FileNotFoundError):  # Another process tidies up, too.
                if left.stat().st_mtime < time() - _ABANDONED_SECONDS:
                    left.unlink()
        probe = unfinished / uuid4().hex
        probe.touch()
        probe.unlink()
    except OSError as error:
        message = f"the object store's folder {root} cannot be used: {error.strerror}"
        fix = "name a folder that this user may write, in RUNPLANE_OBJECT_STORE"
        raise FailedPrecondition("OBJECT_STORE_UNUSABLE", message, suggested_fix=fix) from None
    return FolderObjectStore(root)


async def _on_a_thread(work: Callable[[], Result]) -> Result:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise refusals.unavailable(error.strerror or "an error of the file system") from None


def _read(path: Path, reference: Reference, start: int, end: int) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != reference.size_bytes:
                raise refusals.damaged(reference)
            file.seek(start)
            body = file.read(end - start)
    except FileNotFoundError:
        raise refusals.not_found(reference) from None
    is_whole = len(body) == reference.size_bytes
    if len(body) != end - start or (is_whole and reference_to(body) != reference):
        raise refusals.damaged(reference)
    return body


def _holds(path: Path, body: bytes) -> bool:
    """Whether the value is there, and undamaged."""
    try:
        return path.stat().st_size == len(body) and path.read_bytes() == body
    except FileNotFoundError:
        return False


def _write(path: Path, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _settle(folder: Path) -> None:
    """Have the disk know what the folder holds."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
