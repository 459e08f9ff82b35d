"""Spans of messages. A message says in its headers of which trace it is, and carries that on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from services.chassis.context import (
    STATE_KEY,
    TRACE_KEY,
    Principal,
    RequestContext,
    current,
    from_metadata,
)
from services.chassis.eventbus.port import Message
from services.chassis.tracing import names
from services.chassis.tracing.spans import (
    CONSUMER,
    PRODUCER,
    Facts,
    Nothing,
    Span,
    entered,
    is_on,
    span,
)

_SYSTEM: Final = "kafka"


class Publisher(Protocol):
    """What of an event bus this needs."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `EventBus`."""


async def publish(bus: Publisher, messages: Sequence[Message]) -> None:
    """Have a bus told, with a span for each message whose trace is recorded. Raises as the bus."""
    if not is_on():
        await bus.publish(messages)
        return
    sending = [_sending(each) for each in messages]
    try:
        await bus.publish([message for message, _ in sending])
    except BaseException:
        for _, each in sending:
            each.fail("not_sent")
        raise
    finally:
        for _, each in sending:
            each.end()


@contextmanager
def received(message: Message, traceparent: str, tenant: str) -> Iterator[RequestContext]:
    """Deal with a message, as a part of the trace that it is of; else of a new one."""
    pairs = [(TRACE_KEY, traceparent), (STATE_KEY, message.headers.get(STATE_KEY, ""))]
    here = replace(from_metadata(pairs), principal=Principal(tenant))
    token = current.set(here)
    try:
        with entered(f"process {message.topic}", CONSUMER, _facts(message)):
            yield here
    finally:
        current.reset(token)


def _sending(message: Message) -> tuple[Message, Span | Nothing]:
    said = message.headers.get(TRACE_KEY, "")
    came = from_metadata([(TRACE_KEY, said), (STATE_KEY, message.headers.get(STATE_KEY, ""))])
    above = replace(came, span_id=came.parent_id or came.span_id, is_made_up=not came.parent_id)
    begun = span(f"send {message.topic}", PRODUCER, _facts(message), here=above)
    if begun.context is None:
        return message, begun
    headers = {**message.headers, TRACE_KEY: begun.context.traceparent}
    return replace(message, headers=headers), begun


def _facts(message: Message) -> Facts:
    facts = {names.MESSAGING: _SYSTEM, names.DESTINATION: message.topic}
    event_id = message.headers.get("ce_id", "")
    return facts | {names.MESSAGE: event_id[:256]} if event_id else facts
