"""Hands on what comes in on a topic: at least once, in the order of each key.

A batch is committed when all of it is dealt with. What cannot be dealt with now is tried again, and
what is behind it waits; what never can goes to `TOPIC.dead-letter`, with why, and the rest goes on.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Final

from services.chassis.errors import (
    Aborted,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.chassis.eventbus.port import Consumer, EventBus, Message

log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]
"""Deals with a message: on return what came of it is durable. It may be called with it again."""

TRANSIENT: Final = (Unavailable, ResourceExhausted, Aborted, DeadlineExceeded)
"""Worth another try. Every other ServiceError says the same each time."""
DEAD_LETTER: Final = ".dead-letter"
BATCH: Final = 100
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
SAY_SECONDS: Final = 30.0
MOST_CHARACTERS: Final = 500


class Inbound:
    """One member of a group, that hands each message to `handle`.

    What a handler raises beside ServiceErrors is a bug: it is logged, tried again `bugs` times, and
    then the message is set aside as well, so that one message cannot hold up a topic for ever.
    """

    def __init__(
        self, bus: EventBus, topic: str, group: str, handle: Handler, *, bugs: int = 3
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._group = group
        self._handle = handle
        self._bugs = bugs
        self._consumer: Consumer | None = None
        self._said = -SAY_SECONDS
        self._is_stopping = asyncio.Event()
        self.joined = asyncio.Event()
        """Set once it has joined its group: what is sent from then on reaches it."""
        self.dead_letters = 0
        """How many were set aside."""

    @property
    def lag(self) -> int:
        """How many messages wait to be dealt with, as far as this member knows."""
        return self._consumer.lag() if self._consumer is not None else 0

    def stop(self) -> None:
        """Finish and commit what was begun; `run` ends then."""
        self._is_stopping.set()

    async def run(self) -> None:
        """Deal with what comes, until `stop` or cancelled. A bus that is away is waited for."""
        pause = FIRST_PAUSE
        while not self._is_stopping.is_set():
            try:
                async with self._bus.consume(self._topic, group=self._group) as consumer:
                    self._consumer, pause = consumer, FIRST_PAUSE
                    self.joined.set()
                    await self._consume(consumer)
            except ServiceError as error:
                self._say("topic cannot be read", error.reason, error.message)
                await self._rest(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            finally:
                self._consumer = None

    async def _consume(self, consumer: Consumer) -> None:
        while (batch := await self._next(consumer)) is not None:
            for message in batch:
                if not await self._deal(message):
                    return  # Stopping, and it has to come again: nothing behind it is committed.
            await consumer.commit()

    async def _next(self, consumer: Consumer) -> Sequence[Message] | None:
        """None where it is time to stop."""
        found = asyncio.ensure_future(consumer.next(limit=BATCH))
        stopping = asyncio.ensure_future(self._is_stopping.wait())
        try:
            await asyncio.wait((found, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (found, stopping):
                each.cancel()
            await asyncio.wait((found, stopping))
        if found.cancelled():
            return None
        batch = found.result()
        return None if self._is_stopping.is_set() else batch

    async def _deal(self, message: Message) -> bool:
        """Whether it is dealt with, one way or the other."""
        pause, bugs = FIRST_PAUSE, 0
        while True:
            try:
                await self._handle(message)
            except TRANSIENT as error:
                self._say("message waits", error.reason, error.message)
            except ServiceError as error:
                return await self._set_aside(message, error)
            except Exception as error:
                log.exception("handler failed", extra={"topic": self._topic})
                bugs += 1
                if bugs >= self._bugs:
                    return await self._set_aside(message, Internal("INTERNAL", _name(error)))
            else:
                return True
            if self._is_stopping.is_set():
                return False
            await self._rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _set_aside(self, message: Message, error: ServiceError) -> bool:
        letter = dead_letter(message, self._topic, error)
        pause = FIRST_PAUSE
        while True:
            try:
                await self._bus.publish([letter])
            except ServiceError as away:
                self._say("message cannot be set aside", away.reason, away.message)
            else:
                self.dead_letters += 1
                extra = {"topic": self._topic, "reason": error.reason}
                log.warning("message set aside", extra=extra)
                return True
            if self._is_stopping.is_set():
                return False
            await self._rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _rest(self, seconds: float) -> None:
        jittered = seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret
        with suppress(TimeoutError):
            async with asyncio.timeout(jittered):
                await self._is_stopping.wait()

    def _say(self, what: str, reason: str, cause: str) -> None:
        """At once, and then now and then."""
        if monotonic() - self._said >= SAY_SECONDS:
            self._said = monotonic()
            log.warning(what, extra={"topic": self._topic, "reason": reason, "cause": cause})


def dead_letter(message: Message, topic: str, error: ServiceError) -> Message:
    """The message as it was, and why it is set aside."""
    headers = {
        **message.headers,
        "reason": error.reason,
        "error": error.message[:MOST_CHARACTERS],
        "original-topic": topic,
    }
    if message.place is not None:
        headers["original-partition"] = str(message.place.partition)
        headers["original-offset"] = str(message.place.offset)
    return replace(message, topic=topic + DEAD_LETTER, headers=headers, place=None)


def _name(error: Exception) -> str:
    return f"the handler failed: {type(error).__name__}"
