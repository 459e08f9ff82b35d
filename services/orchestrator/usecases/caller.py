"""Who calls."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which trace, and how long the caller waits."""

    tenant: str
    subject: str
    trace_id: str
    time_left: timedelta | None
