"""The errors that every object store raises alike. None shows what a client library says: it may
name credentials."""

from services.chassis.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Violation,
    invalid,
)
from services.chassis.objectstore.port import MAX_BYTES, Reference


def not_found(reference: Reference) -> NotFound:
    """This tenant has no such value."""
    named = reference.sha256[:64]
    fix = "use the sha256 of a reference that you were given"
    message = f"there is no object {named}"
    return NotFound("OBJECT_NOT_FOUND", message, sha256=named, suggested_fix=fix)


def damaged(reference: Reference) -> Internal:
    """What is there is not what was put."""
    named = reference.sha256
    return Internal("OBJECT_DAMAGED", f"object {named} is not what was kept", sha256=named)


def too_large(size_bytes: int) -> ResourceExhausted:
    """It does not fit."""
    return ResourceExhausted(
        "OBJECT_TOO_LARGE",
        f"the value has {size_bytes} bytes; an object has at most {MAX_BYTES}",
        size_bytes=str(size_bytes),
        limit_bytes=str(MAX_BYTES),
        suggested_fix="ask for less at a time",
    )


def unavailable(why: str) -> Unavailable:
    """The store does not answer. Putting the same again does no harm."""
    return Unavailable(
        "OBJECT_STORE_UNAVAILABLE",
        f"the object store does not answer: {why}",
        suggested_fix="try again later; see that it runs, and that RUNPLANE_OBJECT_STORE names it",
    )


def unsupported(problem: str) -> InvalidArgument:
    """The setting names no store."""
    fix = "use file:///DIR or s3://BUCKET/PREFIX"
    violation = Violation("RUNPLANE_OBJECT_STORE", problem, fix)
    return invalid(violation, reason="OBJECT_STORE_UNSUPPORTED")
