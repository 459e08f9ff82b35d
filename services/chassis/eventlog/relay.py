"""Tells the event bus what is in the outbox: at least once, and each key's first arrivals in order.

Why that holds, whatever stops, pauses or is doubled: the store gives messages in the order of
commits; the bus sends one when those ahead of it have arrived; and a message is forgotten after it
has arrived. So at every moment, the messages of a key that have arrived are those that were
forgotten and then, without a gap, the first of those that were not. A relay that fails, starts anew
or wakes up after a pause begins with the oldest it knows of, and what it knows of is either still
there or has arrived: it repeats, and repeats only. This needs no lock. The claim is there so that
replicas do not all tell the same.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final

from services.chassis.errors import AlreadyExists, InvalidArgument, ServiceError
from services.chassis.eventbus.port import EventBus, Message
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.port import (
    OUTBOX,
    Append,
    Claim,
    EventStore,
    Key,
    Outgoing,
    Work,
)
from services.chassis.tracing.messaging import publish

log = logging.getLogger(__name__)

KIND: Final = "relay"
TENANT: Final = "-"  # The outbox is everybody's.
LEASE: Final = timedelta(seconds=5)
LOOK_SECONDS: Final = 0.25  # For what other processes committed.
ASK_SECONDS: Final = 1.0  # For the claim, while another has it.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
SAY_SECONDS: Final = 30.0
PAGE: Final = 500
DEAD_LETTER: Final = ".dead-letter"
_FOREVER: Final = timedelta(days=36_500)


@dataclass(slots=True)
class _Pause:
    """That a topic is not told for a while."""

    seconds: float
    until: float
    said: float


class Relay:
    """One of this process. Of all processes that share a store, one tells."""

    def __init__(
        self,
        store: EventStore,
        bus: EventBus,
        backlog: Backlog,
        *,
        owner: str,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._bus = bus
        self._backlog = backlog
        self._owner = owner
        self._now = now
        self._claim: Claim | None = None
        self._asked = -ASK_SECONDS
        self._pauses: dict[str, _Pause] = {}
        self._bell = asyncio.Event()
        self._away = _Pause(0, 0, -SAY_SECONDS)

    async def run(self) -> None:
        """Tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._learn())
            group.create_task(self._tell_all())

    async def release(self) -> None:
        """Let another process tell, at once."""
        if self._claim is not None:
            await self._store.release([self._claim])
            self._claim = None

    async def tell(self) -> None:
        """Tell what there is, as far as the bus takes it. What it does not take waits."""
        passed_over: set[str] = set()  # To the end, lest a later message goes before a held one.
        after = 0
        while await self._is_ours():
            page = await self._store.outgoing(after=after, limit=PAGE)
            if page:
                after = page[-1].number
                await self._tell_page(page, passed_over)
            if len(page) < PAGE:
                break
        self._backlog.counted(await self._store.backlog())

    async def _tell_all(self) -> None:
        while True:
            self._bell.clear()
            try:
                await self.tell()
            except ServiceError as error:  # The store is away.
                self._say("outbox cannot be read", error, self._away)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await (asyncio.Event() if self._pauses else self._bell).wait()

    async def _listen(self) -> None:
        while True:
            await self._store.rung(OUTBOX)
            self._bell.set()

    async def _learn(self) -> None:
        """How many partitions topics have, beside the relay: the bus may take its time."""
        while True:
            for topic in self._backlog.unknown:
                with suppress(ServiceError):
                    self._backlog.learned(topic, await self._bus.partitions(topic))
            await asyncio.sleep(ASK_SECONDS)

    async def _is_ours(self) -> bool:
        """Whether this is the process that tells."""
        due = LEASE.total_seconds() / 3 if self._claim else ASK_SECONDS
        if self._now() - self._asked < due:
            return self._claim is not None
        self._asked = self._now()
        if self._claim is not None:
            renewed = await self._store.renew(self._owner, lease=LEASE)
            self._claim = renewed[0] if renewed else None
        else:
            self._claim = await self._taken()
        return self._claim is not None

    async def _taken(self) -> Claim | None:
        taken = await self._store.take(TENANT, OUTBOX, self._owner, lease=LEASE)
        if taken is not None:
            return taken
        work = Work(KIND, self._owner, LEASE)
        once = Key(KIND, OUTBOX, "", _FOREVER)  # The first makes the row that all others take.
        with suppress(AlreadyExists):
            return await self._store.append(Append(TENANT, OUTBOX, 0, (), work=work, key=once))
        return None

    async def _tell_page(self, page: Sequence[Outgoing], passed_over: set[str]) -> None:
        by_topic: dict[str, list[Outgoing]] = defaultdict(list)
        for each in page:
            by_topic[each.message.topic].append(each)
        held = (topic for topic, pause in self._pauses.items() if pause.until > self._now())
        passed_over.update(held)
        topics = [topic for topic in by_topic if topic not in passed_over]
        telling = (self._told(topic, by_topic[topic]) for topic in topics)
        numbers: list[int] = []
        for topic, told in zip(topics, await asyncio.gather(*telling), strict=True):
            numbers += told
            if len(told) < len(by_topic[topic]):
                passed_over.add(topic)
        if numbers:
            await self._store.told(numbers)

    async def _told(self, topic: str, lane: Sequence[Outgoing]) -> list[int]:
        """The numbers of those that have arrived."""
        try:
            await self._publish([each.message for each in lane])
        except ServiceError as error:
            self._hold(topic, error)
            return []
        if self._pauses.pop(topic, None):
            log.info("topic is told again", extra={"topic": topic})
        return [each.number for each in lane]

    async def _publish(self, messages: Sequence[Message]) -> None:
        """One that the bus will never take must not hold up the rest."""
        try:
            await publish(self._bus, messages)
        except InvalidArgument as refused:
            if len(messages) == 1:
                await self._bus.publish([_set_aside(messages[0], refused)])
                extra = {"topic": messages[0].topic, "reason": refused.reason}
                log.error("message set aside", extra=extra)  # noqa: TRY400 - it was foreseen.
                return
            for each in messages:
                await self._publish([each])

    def _hold(self, topic: str, error: ServiceError) -> None:
        pause = self._pauses.setdefault(topic, _Pause(FIRST_PAUSE, 0, -SAY_SECONDS))
        pause.until = self._now() + pause.seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret
        pause.seconds = min(pause.seconds * 2, LONGEST_PAUSE)
        self._say("topic is not told", error, pause, topic)

    def _say(self, what: str, error: ServiceError, pause: _Pause, topic: str = "") -> None:
        """At once, and then now and then."""
        if self._now() - pause.said >= SAY_SECONDS:
            pause.said = self._now()
            extra = {"topic": topic, "reason": error.reason, "cause": error.message}
            log.warning(what, extra=extra)


@asynccontextmanager
async def relaying(
    store: EventStore, bus: EventBus, backlog: Backlog, *, owner: str
) -> AsyncIterator[Relay]:
    """A relay at work, until the context is left. `owner` is this process's alone."""
    relay = Relay(store, bus, backlog, owner=owner)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(relay.run())
        try:
            yield relay
        finally:
            running.cancel()
            await asyncio.wait([running])
            with suppress(ServiceError):
                await relay.release()


def _set_aside(message: Message, refused: ServiceError) -> Message:
    """What stands for a message that the bus refuses: its headers, and why, without its value."""
    kept = {name: value for name, value in message.headers.items() if len(value) < 1024}
    headers = kept | {"reason": refused.reason, "error": refused.message[:500]}
    headers["original-topic"] = message.topic
    return replace(message, topic=message.topic + DEAD_LETTER, value=b"", headers=headers)
