"""What a call says of its caller."""

from datetime import timedelta
from typing import Any

import grpc

from services.chassis.context import current
from services.orchestrator.usecases.caller import Caller


def caller(context: "grpc.aio.ServicerContext[Any, Any]") -> Caller:
    """Who asks, and how long they wait."""
    request = current.get()
    left = context.time_remaining()
    return Caller(
        tenant=request.principal.tenant,
        subject=request.principal.subject,
        trace_id=request.trace_id,
        time_left=None if left is None else timedelta(seconds=left),
    )


def cache_control() -> str:
    """What was said of cached answers, as metadata."""
    return current.get().cache_control


def idempotency_key(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """The key that came as metadata."""
    return current.get().idempotency_key
