"""Idempotency keys of this service's callers."""

from typing import Final

from services.chassis import starts
from services.chassis.eventlog.port import Key
from services.orchestrator.usecases.caller import Caller

KEYS_LAST: Final = starts.KEYS_LAST
once = starts.once


def owned(scope: str, caller: Caller, key: str, fingerprint: str) -> Key:
    """A key of the caller's own; `scope` is what it begins, such as `task`."""
    return starts.owned(scope, caller.subject, key, fingerprint)
