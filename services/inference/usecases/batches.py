"""What callers can do with batches."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Condition, Key
from services.chassis.starts import check_length, once, owned
from services.inference.batching.ports import BatchDesk, BatchLog
from services.inference.domain import batch as bt
from services.inference.domain.request import check
from services.inference.ports import Catalogue

CANCEL_SECONDS: Final = 4.0
"""How long a cancel is waited for, which is less than an edge waits by default."""
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(days=7)
MAX_FAULTS: Final = 20
MAX_KEY: Final = 128
MAX_NAME: Final = 256
MAX_LABELS: Final = 32
MAX_REASON: Final = 256
RETRY_AFTER: Final = timedelta(seconds=10)
_AT_ONCE: Final = 32
_UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which trace."""

    tenant: str
    subject: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is taken at most."""

    prompt_bytes: int
    open_batches: int
    """Of a tenant, that have not ended."""
    duration: timedelta
    """How long a batch may take that says nothing."""


@dataclass(frozen=True, slots=True)
class Start:
    """What to start."""

    items: Sequence[bt.Item]
    body: bytes
    """The same as it came over the wire."""
    shared_messages: int = 0
    """How many messages at the start of each item are all items' own."""
    model: str = ""
    timeout_ms: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str = ""
    fingerprint: str = ""


class Hands(Protocol):
    """Who goes on with batches."""

    def look(self) -> None:
        """There is something new."""


Placed: TypeAlias = Callable[[InvalidArgument, int, int], InvalidArgument]
"""An error that says which item it is about, by its index and the number of shared messages."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Starts, shows, follows, cancels and deletes batches."""

    log: BatchLog
    desk: BatchDesk
    hands: Hands
    catalogue: Catalogue
    bounds: Bounds
    placed: Placed
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    async def start(self, start: Start, caller: Caller) -> bytes:
        """Start a batch, or find the one that was started with this key; as it goes over the wire.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, `SCHEMA_INVALID`.
            NotFound: `MODEL_NOT_FOUND`.
            AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
            ResourceExhausted: `TOO_MANY_BATCHES`.
        """
        check_length(start.idempotency_key)
        if not start.idempotency_key:
            return await self._start(start, caller, None)
        key = owned("batch", caller.subject, start.idempotency_key, start.fingerprint)
        return await once(
            key,
            lambda: self.log.kept(caller.tenant, key),
            lambda batch_id: self.log.shown(caller.tenant, batch_id),
            lambda: self._start(start, caller, key),
        )

    async def get(self, caller: Caller, batch_id: str) -> bytes:
        """A batch as it goes over the wire."""
        return await self.log.shown(caller.tenant, batch_id)

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Batches of the caller's tenant, the newest first."""
        return await self.log.page(caller.tenant, where, after=after, limit=limit)

    async def items(
        self, caller: Caller, batch_id: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Items of a batch in their order."""
        return await self.log.items(caller.tenant, batch_id, where, after=after, limit=limit)

    async def watch(
        self, caller: Caller, batch_id: str, *, after: int
    ) -> AsyncGenerator[bytes, None]:
        """What happened to a batch after a sequence, until it ends."""
        if after < 0:
            fix = "send 0 for all, or the sequence of the last event you have"
            raise invalid(Violation("after_sequence", "is negative", fix))
        await self.log.state(caller.tenant, batch_id)
        async with aclosing(self.log.watch(caller.tenant, batch_id, after=after)) as events:
            async for event in events:
                yield event

    async def cancel(self, caller: Caller, batch_id: str, reason: str) -> bytes:
        """Cancel a batch; as it stands once that is done, or after a while.

        Raises:
            NotFound: `BATCH_NOT_FOUND`.
            FailedPrecondition: `BATCH_ALREADY_ENDED`.
        """
        if len(reason) > MAX_REASON:
            fix = f"send at most {MAX_REASON} characters"
            raise invalid(Violation("reason", "is too long", fix))
        if not await self._is_over(caller, batch_id):
            await self.desk.ask_to_cancel(caller.tenant, batch_id, reason)
            self.hands.look()
            await self._ended(caller, batch_id)
            await self._is_over(caller, batch_id)
        return await self.log.shown(caller.tenant, batch_id)

    async def delete(self, caller: Caller, batch_id: str) -> None:
        """Have a batch that has ended be seen no more.

        Raises:
            NotFound: `BATCH_NOT_FOUND`.
            FailedPrecondition: `BATCH_NOT_ENDED`.
        """
        state = await self.log.state(caller.tenant, batch_id)
        if state not in bt.CLOSED:
            raise bt.not_ended(batch_id, state)
        loaded = await self.log.load(caller.tenant, batch_id)
        await self.log.append(loaded, [bt.Deleted(self.now())])

    async def _start(self, start: Start, caller: Caller, key: Key | None) -> bytes:
        duration = _checked(start, self.bounds)
        await self._check_items(start, caller)
        await self._check_room(caller)
        now = self.now()
        spec = bt.Spec(
            batch_id=self.new_id(),
            tenant=caller.tenant,
            owner=caller.subject,
            trace_id=caller.trace_id,
            model=start.model,
            labels=start.labels,
            deadline=now + duration,
        )
        await self.log.begin(bt.Created(now, spec, start.items), start.body, key)
        self.hands.look()
        return await self.log.shown(caller.tenant, spec.batch_id)

    async def _check_items(self, start: Start, caller: Caller) -> None:
        """Refuse what could not run, with every fault, or many of them."""
        faults: list[Violation] = []
        for index, item in enumerate(start.items):
            try:
                self._check_item(item, index, caller)
            except InvalidArgument as error:
                faults += self.placed(error, index, start.shared_messages).violations
            if len(faults) >= MAX_FAULTS:
                break
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # The loop is others' as well.
        if faults:
            raise invalid(*faults[:MAX_FAULTS])

    def _check_item(self, item: bt.Item, index: int, caller: Caller) -> None:
        name = item.request.model
        try:
            serving = self.catalogue.find(caller.tenant, name, field=f"items[{index}].model")
        except FailedPrecondition:  # It is not loaded now, and may be before the deadline.
            return
        check(item.request, serving.model, max_bytes=self.bounds.prompt_bytes)

    async def _check_room(self, caller: Caller) -> None:
        most = self.bounds.open_batches
        if await self.log.unended(caller.tenant, most) >= most:
            raise ResourceExhausted(
                "TOO_MANY_BATCHES",
                f"{most} batches have not ended; wait for one, or cancel one",
                limit=str(most),
            ).after(RETRY_AFTER)

    async def _is_over(self, caller: Caller, batch_id: str) -> bool:
        """Whether it is canceled; refuses one that has ended otherwise."""
        state = await self.log.state(caller.tenant, batch_id)
        if state in bt.CLOSED and state is not bt.State.CANCELED:
            raise bt.already_ended(batch_id, state)
        return state is bt.State.CANCELED

    async def _ended(self, caller: Caller, batch_id: str) -> None:
        try:
            async with (
                asyncio.timeout(CANCEL_SECONDS),
                aclosing(self.log.watch(caller.tenant, batch_id, after=0)) as events,
            ):
                async for _ in events:
                    pass
        except TimeoutError:
            pass


def _checked(start: Start, bounds: Bounds) -> timedelta:
    """How long it may take; refuses what is wrong with the batch as such."""
    faults = [*_item_faults(start.items), *_label_faults(start.labels)]
    duration = bounds.duration
    if start.timeout_ms is not None:
        lowest, highest = SHORTEST.total_seconds() * 1e3, LONGEST.total_seconds() * 1e3
        if lowest <= start.timeout_ms <= highest:
            duration = timedelta(milliseconds=start.timeout_ms)
        else:
            fault = f"must be from {lowest:.0f} to {highest:.0f}"
            faults.append(Violation("timeout_ms", fault, "leave it out for a day"))
    if faults:
        raise invalid(*faults[:MAX_FAULTS])
    return duration


def _item_faults(items: Sequence[bt.Item]) -> Sequence[Violation]:
    if not items:
        return [Violation("items", "is empty", "send at least one item")]
    if len(items) > bt.MAX_ITEMS:
        fault = f"has more than the {bt.MAX_ITEMS} items that are taken"
        return [Violation("items", fault, "send several batches")]
    faults, known = [], dict[str, int]()
    for index, item in enumerate(items):
        where = f"items[{index}].key"
        if len(item.key) > MAX_KEY or _UNNAMEABLE.search(item.key):
            fix = f"send 1 to {MAX_KEY} printable characters"
            faults.append(Violation(where, "is no key", fix))
        elif (first := known.setdefault(item.key, index)) != index:
            fault = f"is {item.key!r}, as that of items[{first}]"
            faults.append(Violation(where, fault, "give each item a key of its own"))
    return faults


def _label_faults(labels: Mapping[str, str]) -> Sequence[Violation]:
    if len(labels) > MAX_LABELS:
        return [Violation("labels", f"are more than {MAX_LABELS}", "send fewer")]
    texts = [*labels, *labels.values()]
    if any(len(each) > MAX_NAME or _UNNAMEABLE.search(each) for each in texts):
        fix = f"use at most {MAX_NAME} printable characters for each name and value"
        return [Violation("labels", "are too long, or have control characters", fix)]
    return []
