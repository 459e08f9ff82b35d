"""What several places say of a tool in the same words. Pure."""

from datetime import timedelta
from typing import Final

from services.chassis.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ServiceError,
    Unavailable,
    Violation,
    invalid,
)
from services.tool_registry.domain.tool import ToolFailure

SOON: Final = timedelta(seconds=1)
"""When to come back to what is lost or overloaded, unless it says so itself."""
TARGET_REFUSED: Final = "TARGET_REFUSED"
_MILLISECOND: Final = timedelta(milliseconds=1)


def timed_out(tool: str, allowed: timedelta, most: timedelta | None = None) -> DeadlineExceeded:
    """That a tool has had its time; `most` is what it may be given."""
    passed_ms = f"{allowed / _MILLISECOND:.0f}"
    more = f"up to {most / _MILLISECOND:.0f} ms, " if most is not None else ""
    return DeadlineExceeded(
        "TOOL_TIMEOUT",
        f"{tool} did not end within {passed_ms} ms",
        tool=tool,
        timeout_ms=passed_ms,
        suggested_fix=f"allow more time, {more}or ask for less",
    )


def too_large(tool: str, what: str, *, is_targets: bool = False) -> ToolFailure:
    """That a tool returned more than a result may have."""
    message = f"{tool} returned {what}"
    return ToolFailure(
        "TOOL_RESULT_TOO_LARGE", message, "ask for less at a time", is_targets=is_targets
    )


def unavailable(tool: str, message: str, **more: str) -> ServiceError:
    """That a tool cannot be had at the moment."""
    return Unavailable("TOOL_UNAVAILABLE", message, tool=tool, **more).after(SOON)


def runs_at_client(tool: str) -> FailedPrecondition:
    """That a tool is not run here."""
    return FailedPrecondition(
        "TOOL_RUNS_AT_CLIENT",
        f"{tool} is run by whoever starts a task, not here",
        tool=tool,
        field="name",
        suggested_fix=f"offer {tool} to a task in client_tools, and submit its result there",
    )


def not_called(refused: ServiceError, field: str) -> InvalidArgument:
    """That a field names what is not called from here."""
    fix = refused.metadata.get("suggested_fix", "")
    return invalid(Violation(field, refused.message, fix), reason=TARGET_REFUSED)
