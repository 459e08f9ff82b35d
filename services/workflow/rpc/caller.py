"""What a call says of its caller, and of its being one that is done once."""

from google.protobuf.message import Message

from services.chassis.context import current
from services.chassis.fingerprint import fingerprint
from services.workflow.usecases.workflows import Caller, Once


def caller() -> Caller:
    """Who asks, and under which trace."""
    request = current.get()
    return Caller(request.principal.tenant, request.principal.subject, request.trace_id)


def once(key: str, request: Message) -> Once:
    """The request's key, or the one that came beside it. Requests of two kinds that say the same,
    such as an approval and a rejection, are not the same."""
    key = key or current.get().idempotency_key
    return Once(key, f"{request.DESCRIPTOR.name} {fingerprint(request)}") if key else Once()
