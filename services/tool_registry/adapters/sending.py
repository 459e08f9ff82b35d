"""What goes along with a request to somebody else's server."""

from typing import Final
from urllib.parse import quote

from services.chassis.context import STATE_KEY, TRACE_KEY, child, current
from services.chassis.errors import FailedPrecondition
from services.chassis.tracing.spans import is_recording
from services.tool_registry.domain import http_fields

_KEY_CHARACTERS: Final = "".join(map(chr, range(0x21, 0x7F)))


def sendable_key(key: str) -> str:
    """An idempotency key as a header or metadata can have it."""
    return quote(key, safe=_KEY_CHARACTERS)


def sendable_secret(value: str, name: str) -> str:
    """The value that a header or metadata is to have, with a secret in it.

    Raises:
        FailedPrecondition: `SECRET_NOT_FOUND`; it cannot be sent.
    """
    if not http_fields.is_secret_value(value):
        message = f"{name} has characters that no header can have"
        fix = "replace the secret by one in ASCII"
        raise FailedPrecondition("SECRET_NOT_FOUND", message, secret=name, suggested_fix=fix)
    return value


def trace() -> dict[str, str]:
    """The trace of the request that is served, in a span of its own; empty if there is none."""
    if (here := current.get(None)) is None:
        return {}
    here = here if is_recording() else child(here)  # The call's own span, if there is one.
    state = {STATE_KEY: here.tracestate} if here.tracestate else {}
    return {TRACE_KEY: here.traceparent, **state}
