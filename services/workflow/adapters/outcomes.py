"""What an error out there means for an attempt at an action."""

from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain.advance import failure_of
from services.workflow.domain.outcomes import Failed

_RETRYABLE: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"})
"""Another attempt may do better. Each attempt carries the same key, so one that was taken before is
not taken again by whoever honours it."""
_UNCERTAIN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})
"""It may have been done all the same."""


def failed(error: ServiceError) -> Failed:
    """An attempt that ended with an error of an RPC."""
    return Failed(
        failure_of(error),
        is_retryable=error.code in _RETRYABLE,
        is_uncertain=error.code in _UNCERTAIN,
        retry_after=error.retry_after or timedelta(0),
    )
