"""Errors as facts. Pure."""

from services.chassis.errors import ServiceError
from services.orchestrator.domain.events import Failure


def failure(error: ServiceError) -> Failure:
    """An error as a fact of the log."""
    fix = error.metadata.get("suggested_fix", "")
    after = error.retry_after
    after_ms = None if after is None else after.total_seconds() * 1000
    return Failure(error.code, error.reason, error.message, fix, after_ms, error.domain)
