"""What Kafka's client says went wrong, as this suite says it. It repeats no address."""

import logging
import time
from datetime import timedelta
from typing import Final

from aiokafka import errors as kafka

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ServiceError,
    Unavailable,
)

FAILURES: Final = (kafka.KafkaError, OSError, TimeoutError)
_TOO_LARGE: Final = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordTooLargeError,
    kafka.RecordListTooLargeError,
)
_FORBIDDEN: Final = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationFailedError,
)
MOVED: Final = (
    kafka.CommitFailedError,
    kafka.IllegalStateError,
    kafka.IllegalGenerationError,
    kafka.RebalanceInProgressError,
    kafka.UnknownMemberIdError,
)
"""That partitions have gone to another member."""


def explained(error: Exception, topic: str) -> ServiceError:
    """The error that callers may see."""
    cause = type(error).__name__
    if isinstance(error, _TOO_LARGE):
        return too_large(topic)
    if isinstance(error, kafka.InvalidTopicError):
        return invalid_topic(topic)
    if isinstance(error, kafka.UnknownTopicOrPartitionError):
        message = f"there is no topic {topic}, and the event bus makes none"
        return FailedPrecondition("TOPIC_MISSING", message, topic=topic)
    if isinstance(error, _FORBIDDEN):
        message = f"the event bus does not let this service use {topic}: {cause}"
        return PermissionDenied("EVENT_BUS_FORBIDDEN", message, topic=topic, cause=cause)
    message = f"the event bus does not answer: {cause}"
    return Unavailable("EVENT_BUS_UNAVAILABLE", message, cause=cause).after(timedelta(seconds=1))


def too_large(topic: str) -> InvalidArgument:
    """No broker takes it."""
    message = f"a message for {topic} is larger than the event bus takes"
    return InvalidArgument("MESSAGE_TOO_LARGE", message, topic=topic)


def invalid_topic(topic: str) -> InvalidArgument:
    """Kafka allows no such name."""
    shown = topic[:64]
    message = f"{shown!r} is no name of a topic; use 1 to 249 of A-Z, a-z, 0-9, '.', '_' and '-'"
    return InvalidArgument("TOPIC_INVALID", message, topic=shown)


class Seldom(logging.Filter):
    """Lets each of a library's sentences through once in a while: a client that cannot connect says
    so many times a second."""

    def __init__(self, seconds: float = 30) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it."""
        now, said = time.monotonic(), str(record.msg)
        if now - self._last.get(said, -self._seconds) < self._seconds:
            return False
        if len(self._last) > 1000:
            self._last.clear()
        self._last[said] = now
        return True
