"""Beginnings that can be repeated: an idempotency key stands for what was begun with it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from services.chassis.errors import AlreadyExists, Violation, invalid
from services.chassis.eventlog.port import Kept, Key

KEYS_LAST: Final = timedelta(hours=24)
MAX_CHARACTERS: Final = 256

Value = TypeVar("Value")


def owned(scope: str, subject: str, key: str, fingerprint: str) -> Key:
    """A key of the subject's own; `scope` is what it begins, such as `task`. No two subjects' keys
    are one, whatever is in their names."""
    return Key(scope, f"{len(subject)}/{subject}/{key}", fingerprint, KEYS_LAST)


def check_length(key: str) -> None:
    """Refuse a key that is too long to be kept. Raises InvalidArgument `INVALID_REQUEST`."""
    if len(key) > MAX_CHARACTERS:
        fix = f"send at most {MAX_CHARACTERS} characters"
        raise invalid(Violation("idempotency_key", "is too long", fix))


async def once(
    key: Key,
    kept: Callable[[], Awaitable[Kept | None]],
    find: Callable[[str], Awaitable[Value]],
    begin: Callable[[], Awaitable[Value]],
) -> Value:
    """What a key stands for: found by its id, or begun if it stands for nothing yet.

    Raises:
        AlreadyExists: `IDEMPOTENCY_KEY_REUSED`; it stands for another request.
    """
    if (known := await kept()) is None:
        try:
            return await begin()
        except AlreadyExists:  # Perhaps by the same request, sent twice at once.
            if (known := await kept()) is None:
                raise
    _check(key, known)
    return await find(known.stream_id)


def _check(key: Key, known: Kept) -> None:
    if known.fingerprint != key.fingerprint:
        raise AlreadyExists(
            "IDEMPOTENCY_KEY_REUSED",
            f"the idempotency key stands for {known.stream_id}, which was asked for differently",
            field="idempotency_key",
            suggested_fix="send the same request, or another key",
            **{f"{key.scope}_id": known.stream_id},
        )
