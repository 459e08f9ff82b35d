"""Idempotency keys of this service's callers."""

from services.chassis import starts
from services.chassis.eventlog.port import Key
from services.chassis.starts import KEYS_LAST, once
from services.orchestrator.usecases.caller import Caller

__all__ = ["KEYS_LAST", "once", "owned"]


def owned(scope: str, caller: Caller, key: str, fingerprint: str) -> Key:
    """A key of the caller's own; `scope` is what it begins, such as `task`."""
    return starts.owned(scope, caller.subject, key, fingerprint)
