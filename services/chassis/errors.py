"""What a service may say went wrong. Pure; `status.py` puts it on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one field of a request."""

    field: str
    """Where in the request, such as `sampling.temperature`."""
    message: str
    """What is wrong with it."""
    suggested_fix: str = ""
    """What to send instead."""
    schema_path: str = ""
    """Where in the schema it violates, as a JSON Pointer, such as `/properties/location/type`."""


class ServiceError(Exception):
    """A failure that callers may see.

    `reason` is stable and in UPPER_SNAKE_CASE (AIP-193); programs test it. `message` is for a
    developer: what happened and what to do. `metadata` has every dynamic value of the message.
    `domain` is empty where the error is raised and names the service once it crossed the wire.
    """

    code: ClassVar[str] = "UNKNOWN"
    """The canonical name of its gRPC code."""

    def __init__(self, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.domain = ""
        self.violations: Sequence[Violation] = ()
        self.retry_after: timedelta | None = None

    def after(self, delay: timedelta) -> "ServiceError":
        """The same error, saying when to try again."""
        self.retry_after = delay
        return self


class InvalidArgument(ServiceError):
    """Wrong whatever the state of the system."""

    code = "INVALID_ARGUMENT"


class NotFound(ServiceError):
    """There is no such thing for this caller."""

    code = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """There is one already."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """Wrong in the state things are in."""

    code = "FAILED_PRECONDITION"


class Aborted(ServiceError):
    """Someone else changed it first: read again and repeat."""

    code = "ABORTED"


class PermissionDenied(ServiceError):
    """The caller is known and may not."""

    code = "PERMISSION_DENIED"


class Unauthenticated(ServiceError):
    """The caller is not known."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(ServiceError):
    """A quota, a rate or a queue is full."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """Not now: overload, start, drain or a lost connection."""

    code = "UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    """Time ran out."""

    code = "DEADLINE_EXCEEDED"


class Internal(ServiceError):
    """A bug, here or in a peer. Trying again does not help."""

    code = "INTERNAL"


def invalid(*violations: Violation, reason: str = "INVALID_REQUEST") -> InvalidArgument:
    """The error for a request with these faults, of which there is at least one."""
    first = violations[0]
    metadata = {
        key: value
        for key, value in (
            ("field", first.field),
            ("schema_path", first.schema_path),
            ("suggested_fix", first.suggested_fix),
        )
        if value
    }
    error = InvalidArgument(reason, "; ".join(f"{v.field}: {v.message}" for v in violations))
    error.metadata = metadata
    error.violations = violations
    return error
