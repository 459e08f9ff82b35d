"""What a request and a WebSocket have alike while they are answered."""

from abc import ABC, abstractmethod
from typing import Final

from uvicorn._types import HTTPScope, WebSocketScope

from gateway.errors import Failure
from gateway.head import Head
from gateway.tracing import answered
from services.chassis.context import RequestContext, local_context
from services.chassis.tracing.spans import NOTHING, Nothing, Span

# Of a replica that stops and sends its callers to another: each update would be an outage.
_GOES_ON: Final = frozenset({"EDGE_STOPPING", "SERVICE_STOPPING"})


class Served(ABC):
    """Something that came in and is being answered."""

    __slots__ = ("_context", "head", "route", "scope", "service", "span", "status")

    def __init__(self, scope: HTTPScope | WebSocketScope) -> None:
        self.scope = scope
        self._context: RequestContext | None = None
        self.head: Head
        self.service = ""
        """The service that is to answer."""
        self.span: Span | Nothing = NOTHING
        self.route = ""
        """The template of what is to answer; empty while that is not known."""
        self.status = 0
        """What was answered, as HTTP has it; 0 while nothing is."""

    @property
    def context(self) -> RequestContext:
        """Request and trace; made up when the request's own cannot be used."""
        if self._context is None:
            self._context = local_context()
        return self._context

    def read_head(self, head: Head) -> None:
        """Take note of the head."""
        self.head = head
        self._context = head.context

    @abstractmethod
    async def fail(self, failure: Failure) -> None:
        """Say what went wrong."""

    def _broke(self, failure: Failure) -> None:
        """Take note of what breaks it off after it began."""
        if failure.reason not in _GOES_ON:
            self._note(failure.http)

    def _note(self, status: int) -> None:
        """Take note of what is answered."""
        self.status = status
        answered(self.span, status)
