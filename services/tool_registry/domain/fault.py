"""Calls that came to nothing: whose fault it is, and whether a default stands in. Pure."""

from datetime import timedelta
from typing import Final

from services.chassis.errors import (
    DeadlineExceeded,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.tool_registry.domain.call import Warned
from services.tool_registry.domain.circuit import Event
from services.tool_registry.domain.texts import cut
from services.tool_registry.domain.tool import Definition, ToolFailure

LIMIT: Final = "limit"
"""In the metadata of a refusal: which limit was reached; see `OF_TOOL`."""
OF_TOOL: Final = "tool"

FAIR: Final = timedelta(seconds=1)
"""Time enough for anybody. That a call ended within less shows nothing of its target, unless the
tool itself is to take less."""

_SHOWN_CHARACTERS: Final = 300


def shown(error: Exception, definition: Definition, allowed: timedelta) -> Event | None:
    """What a failure shows of the target; None if nothing, as it may not even have been asked."""
    if isinstance(error, ToolFailure):
        return Event.FAILED if error.is_targets else Event.ANSWERED
    if isinstance(error, DeadlineExceeded):
        return Event.FAILED if allowed >= min(definition.timeout, FAIR) else None
    return Event.FAILED if isinstance(error, Unavailable) else None


def is_defaulted(error: Exception) -> bool:
    """Whether a tool's default is an answer to this failure: when the tool cannot, and not when the
    caller or this service is at fault."""
    if isinstance(error, ResourceExhausted):
        return error.metadata.get(LIMIT, OF_TOOL) == OF_TOOL
    return isinstance(error, ToolFailure | DeadlineExceeded | Unavailable)


def warning(error: ToolFailure | ServiceError, definition: Definition) -> Warned:
    """That the default was answered, and why, in one line."""
    shown = cut(" ".join(error.message.split()), _SHOWN_CHARACTERS)
    message = f"{definition.name} answers its default ({error.reason}: {shown})"
    return Warned("TOOL_DEFAULTED", message)
