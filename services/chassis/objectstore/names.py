"""Where a value is, below whatever an adapter has for a root; and which bytes of it. Pure."""

import hashlib
import re
from typing import Final

from services.chassis.objectstore import refusals
from services.chassis.objectstore.port import Reference

_PLAIN: Final = re.compile(r"[a-z0-9_-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def folder(tenant: str) -> str:
    """The tenant's own folder, readable where its name can be one on any file system."""
    if _PLAIN.fullmatch(tenant):
        return f"tenant.{tenant}"
    return f"hashed.{hashlib.sha256(tenant.encode(errors='surrogatepass')).hexdigest()}"


def parts(tenant: str, reference: Reference) -> tuple[str, str, str]:
    """The folders and the name.

    Raises:
        NotFound: `OBJECT_NOT_FOUND`; what it is called by is no hash.
    """
    if not _SHA256.fullmatch(reference.sha256):
        raise refusals.not_found(reference)
    return folder(tenant), reference.sha256[:2], reference.sha256


def span(reference: Reference, offset: int, length: int | None) -> tuple[int, int]:
    """From which byte to before which, within the value."""
    start = min(max(offset, 0), reference.size_bytes)
    rest = reference.size_bytes - start
    return start, start + (rest if length is None else min(max(length, 0), rest))
