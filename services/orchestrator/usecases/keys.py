"""Beginnings that can be repeated: an idempotency key stands for what was begun with it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from services.chassis.errors import AlreadyExists
from services.chassis.eventlog.port import Kept, Key
from services.orchestrator.usecases.caller import Caller

KEYS_LAST: Final = timedelta(hours=24)

Value = TypeVar("Value")


def owned(scope: str, caller: Caller, key: str, fingerprint: str) -> Key:
    """A key of the caller's own; `scope` is what it begins, such as `task`. No two callers' keys
    are one, whatever is in their names."""
    own = f"{len(caller.subject)}/{caller.subject}/{key}"
    return Key(scope, own, fingerprint, KEYS_LAST)


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
