"""Which trace is an example of what is measured: only one that somebody can look at."""

from services.chassis.context import RequestContext, current
from services.chassis.tracing.spans import is_on


def example() -> str:
    """The id of the current trace, if it is recorded; else empty."""
    return example_of(current.get(None))


def example_of(context: RequestContext | None) -> str:
    """The same of another context."""
    return context.trace_id if context is not None and context.sampled and is_on() else ""
