"""What goes wrong before or behind MCP, in the edge's own words, and as JSON-RPC says it."""

import json
from typing import Any, Final

import grpc

from gateway import errors
from gateway.errors import Failure
from gateway.exchange import Exchange
from services.chassis.context import RequestContext
from services.chassis.errors import ServiceError

# JSON-RPC 2.0, and what MCP adds to it.
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

# Faults of the caller's that asking otherwise does not mend: who it is, or how much it asks.
_NOT_PARAMS: Final = frozenset({401, 403, 429, errors.CLIENT_CLOSED})


class Refused(Exception):
    """A call that the edge or a service refused, or that failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.reason = failure.reason
        self.said: dict[str, Any] = json.loads(failure.body)
        """As every other route shows it."""

    @property
    def message(self) -> str:
        """What happened, and what to do about it."""
        message, fix = self.said.get("message", ""), self.said.get("suggested_fix", "")
        return f"{message} ({fix})" if fix else str(message)

    @property
    def code(self) -> int:
        """The JSON-RPC error code."""
        return code_of(self.failure.http)


def from_rpc(error: grpc.aio.AioRpcError, service: str, context: RequestContext) -> Refused:
    """What a service said."""
    return Refused(errors.from_rpc(error, service, context))


def from_error(error: ServiceError, context: RequestContext) -> Refused:
    """What the edge itself says."""
    return Refused(errors.from_error(error, context))


def code_of(http: int) -> int:
    """The JSON-RPC error code for an error that HTTP has a number for."""
    is_params = http < 500 and http not in _NOT_PARAMS
    return INVALID_PARAMS if is_params else INTERNAL_ERROR


async def answer(exchange: Exchange, refused: Refused) -> None:
    """Answer a message that was not taken."""
    failure = refused.failure
    await exchange.answer(failure.http, as_response(refused), *failure.headers)


def unread_code(refused: Refused) -> int:
    """The JSON-RPC error code of such an answer."""
    return INVALID_REQUEST if refused.failure.http < 500 else INTERNAL_ERROR


def as_response(refused: Refused) -> bytes:
    """A response to a message that was not read, or is no request."""
    error = {"code": unread_code(refused), "message": refused.message, "data": refused.said}
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
