"""The errors that every event store raises alike."""

from datetime import timedelta

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Append, Claim, Key


def sequence_conflict(batch: Append) -> Aborted:
    """The stream does not end with what the writer expected."""
    return Aborted(
        "SEQUENCE_CONFLICT",
        f"{batch.stream_id} does not end with {batch.expected}",
        stream_id=batch.stream_id,
        expected=str(batch.expected),
    )


def claim_lost(claim: Claim) -> Aborted:
    """Somebody else has the stream now, or nobody has to."""
    return Aborted(
        "CLAIM_LOST",
        f"{claim.owner} has {claim.stream_id} no longer (epoch {claim.epoch})",
        stream_id=claim.stream_id,
        epoch=str(claim.epoch),
    )


def key_taken(key: Key) -> AlreadyExists:
    """The same start was asked for before."""
    message = f"the idempotency key was used for another {key.scope}"
    return AlreadyExists("IDEMPOTENCY_KEY_TAKEN", message, scope=key.scope)


def inbox_full(stream_id: str, most: int) -> ServiceError:
    """Who works on the stream does not come to read what it is told."""
    message = f"{most} letters wait for {stream_id}"
    full = ResourceExhausted("INBOX_FULL", message, stream_id=stream_id, most=str(most))
    return full.after(timedelta(seconds=1))


def unavailable(why: str) -> Unavailable:
    """The store does not answer. What was asked for may have happened or not."""
    return Unavailable(
        "EVENT_STORE_UNAVAILABLE",
        f"the event store does not answer: {why[:300]}",
        suggested_fix="try again later; see that it runs, and that RUNPLANE_EVENT_STORE names it",
    )


def not_migrated(service: str, pending: int) -> FailedPrecondition:
    """The schema is old, and this process was told to leave it alone."""
    lacks = f"lacks {pending} step(s) of the schema {service}"
    command = f"runplane migrate --service {service}"
    return FailedPrecondition(
        "EVENT_STORE_NOT_MIGRATED",
        f"the event store {lacks}, and RUNPLANE_MIGRATE is never",
        service=service,
        pending=str(pending),
        suggested_fix=f"run: {command}, with its RUNPLANE_EVENT_STORE or --state",
    )


def unkeepable() -> InvalidArgument:
    """What was asked for holds a text that this store has no place for."""
    fix = "send texts without NUL characters"
    return invalid(Violation("value", "has a character that cannot be kept", fix))


def unsupported(problem: str) -> InvalidArgument:
    """The setting names no store."""
    fix = "use memory:, sqlite:///DIR or postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    violation = Violation("RUNPLANE_EVENT_STORE", problem, fix)
    return invalid(violation, reason="EVENT_STORE_UNSUPPORTED")
