"""Takes orders and does them: its own at once, and those that other processes left behind."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from google.longrunning.operations_pb2 import Operation
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from services.chassis.context import current, resumed
from services.chassis.errors import Aborted, Internal, ResourceExhausted, ServiceError
from services.chassis.eventlog.port import Claim, EventStore, Work
from services.chassis.hotstore.port import Entry, HotStore
from services.chassis.operations.kept import KIND, PREFIX, Kept, Order
from services.chassis.status import to_status
from services.chassis.watching import Ear

log = logging.getLogger(__name__)


async def _nothing(order: Order) -> None:
    """There is nothing to undo."""


@dataclass(frozen=True, slots=True)
class Handler:
    """Does what orders of one kind say."""

    do: Callable[[Order], Coroutine[None, None, Message]]
    """What it returns is the operation's response; a ServiceError is its outcome, too."""
    undo: Callable[[Order], Coroutine[None, None, None]] = _nothing
    """Called when somebody has cancelled the operation, and `do` with it."""


_CANCELLED: Final = Status(code=code_pb2.CANCELLED, message="it was cancelled")
MOST_RUNNING: Final = 64
"""Operations of one tenant at a time."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Who this process is among those that do orders."""

    owner: str
    domain: str
    """Of the errors of operations."""
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    lease: timedelta = timedelta(seconds=8)
    look: timedelta = timedelta(seconds=1)


@dataclass(eq=False, slots=True)
class _Run:
    claim: Claim
    task: asyncio.Task[None] | None = None
    handling: asyncio.Task[Message] | None = None
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Let it end, and be told so."""
        self.is_cancelled = True
        if self.handling is not None:
            self.handling.cancel()


@dataclass(slots=True)
class Operations:
    """What callers can do with operations, and the doing of them. `operating` makes one."""

    store: EventStore
    hot: HotStore
    handlers: Mapping[str, Handler]
    setup: Setup
    group: asyncio.TaskGroup
    kept: Kept
    _runs: dict[str, _Run] = field(default_factory=dict)
    """By the id of the stream."""
    _strangers: frozenset[Claim] = frozenset()
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, kind: str, target: str, metadata: Message) -> Operation:
        """Take an order of the current request; it is done from now on, whoever stops.

        Raises:
            ResourceExhausted: `TOO_MANY_OPERATIONS`, with RetryInfo.
        """
        context = current.get()
        who = context.principal
        if await self.kept.running(who.tenant, MOST_RUNNING) >= MOST_RUNNING:
            message = f"{MOST_RUNNING} operations run already"
            full = ResourceExhausted("TOO_MANY_OPERATIONS", message, limit=str(MOST_RUNNING))
            raise full.after(timedelta(seconds=1))
        order = Order(kind, target, who.tenant, who.subject, context.trace_id)
        operation = Operation(name=f"{PREFIX}{self.setup.new_id()}")
        operation.metadata.Pack(metadata)
        work = Work(KIND, self.setup.owner, self.setup.lease)
        claim = await self.kept.begin(order, operation, work, self.setup.now())
        if claim is not None:
            self._run(claim)
        return operation

    async def wait(self, tenant: str, name: str, timeout: timedelta) -> Operation:
        """The operation when it is done, or when the time is over."""
        async with self.hot.subscribe(_topic(tenant, name)) as subscription:
            ear, operation = Ear(subscription), await self.kept.find(tenant, name)
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    while not operation.done:
                        await ear.next()
                        operation = await self.kept.find(tenant, name)
            except TimeoutError:
                pass
            return operation

    async def cancel(self, tenant: str, name: str) -> None:
        """Ask for an operation to be stopped. One that is done stays as it is."""
        await self.kept.find(tenant, name)
        owner = await self.kept.send_cancel(tenant, name)
        if owner:
            await self.hot.publish(_desk(owner), [Entry(0, b"")])

    def wake(self) -> None:
        """Look around now."""
        self._bell.set()

    async def work(self) -> None:
        """Keep what is being done, and take up what is left behind, until cancelled."""
        while True:
            try:
                await self._look()
            except ServiceError as error:
                log.warning("operations cannot be seen", extra={"error_code": error.reason})
            except Exception:
                log.exception("operations cannot be seen")
            try:
                async with asyncio.timeout(self.setup.look.total_seconds()):
                    await self._bell.wait()
            except TimeoutError:
                continue
            self._bell.clear()

    async def _look(self) -> None:
        owner, lease = self.setup.owner, self.setup.lease
        runs = list(self._runs.items())  # What begins from here on need not be among those held.
        held = {claim.stream_id: claim for claim in await self.store.renew(owner, lease=lease)}
        await self._part_with(frozenset(held.values()))
        for stream_id, run in runs:
            if held.get(stream_id) != run.claim and run.task is not None:
                run.task.cancel()  # Somebody else goes on.
        for letter in await self.store.letters(owner) if held else ():
            asked = self._runs.get(letter.stream_id)
            if asked is not None and not asked.is_cancelled:
                asked.cancel()
        for claim in await self.store.claim(KIND, owner, limit=MOST_RUNNING, lease=lease):
            self._run(claim)

    async def _part_with(self, held: frozenset[Claim]) -> None:
        """Give back what has no run, twice in a row: it was left behind."""
        strangers = held - {run.claim for run in self._runs.values()}
        forgotten = strangers & self._strangers
        self._strangers = strangers - forgotten
        if forgotten:
            await self.store.release(list(forgotten))

    def _run(self, claim: Claim) -> None:
        if (before := self._runs.get(claim.stream_id)) is not None and before.task is not None:
            before.task.cancel()
        run = self._runs[claim.stream_id] = _Run(claim)
        run.task = self.group.create_task(self._done(run))

    async def _done(self, run: _Run) -> None:
        """Do an order, and keep what came of it."""
        try:
            order, operation = await self.kept.order(run.claim)
            current.set(resumed(order.tenant, order.subject, order.trace_id))
            await self._outcome(run, order, operation)
            await self.kept.end(run.claim, operation, self.setup.now())
            await self.hot.publish(_topic(order.tenant, operation.name), [Entry(0, b"")])
        except Aborted:
            log.info("an operation went to somebody else", extra={"stream": run.claim.stream_id})
        except ServiceError as error:  # Its claim is given back, and it is taken up again.
            log.warning("an operation was left behind", extra={"error_code": error.reason})
        except Exception:  # One that this release cannot read must not end the others.
            log.exception("an operation was left behind", extra={"stream": run.claim.stream_id})
        finally:
            if self._runs.get(run.claim.stream_id) is run:
                del self._runs[run.claim.stream_id]

    async def _outcome(self, run: _Run, order: Order, operation: Operation) -> None:
        try:
            response = await self._handled(run, order)
            if response is None:
                await self.handlers[order.kind].undo(order)
        except ServiceError as error:
            operation.error.CopyFrom(to_status(error, domain=self.setup.domain))
        except Exception as error:
            log.exception("an operation failed", extra={"kind": order.kind})
            failure = Internal("OPERATION_FAILED", f"internal error ({type(error).__name__})")
            operation.error.CopyFrom(to_status(failure, domain=self.setup.domain))
        else:
            if response is None:
                operation.error.CopyFrom(_CANCELLED)
            else:
                operation.response.Pack(response)
        operation.done = True

    async def _handled(self, run: _Run, order: Order) -> Message | None:
        """What the handler answers; None if it was cancelled by somebody who wants to be told."""
        if run.is_cancelled:
            return None
        run.handling = asyncio.create_task(self.handlers[order.kind].do(order))
        try:
            await asyncio.wait([run.handling])
        finally:
            run.handling.cancel()
            await asyncio.wait([run.handling])
        return None if run.handling.cancelled() else run.handling.result()

    async def leave(self) -> None:
        """Stop, and let others go on with what is not done."""
        claims = [run.claim for run in self._runs.values()]
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.release(claims)


@asynccontextmanager
async def operating(
    store: EventStore, hot: HotStore, handlers: Mapping[str, Handler], setup: Setup
) -> AsyncIterator[Operations]:
    """Do operations until the context is left; what is not done then is left to others."""
    async with hot.subscribe(_desk(setup.owner)) as wakes, asyncio.TaskGroup() as group:
        operations = Operations(store, hot, handlers, setup, group, Kept(store))

        async def ringing(wait: Callable[[], Awaitable[object]]) -> None:
            while True:
                await wait()
                operations.wake()

        owned: Sequence[asyncio.Task[None]] = [
            group.create_task(ringing(wakes.next)),
            group.create_task(ringing(lambda: store.rung(setup.owner))),
            group.create_task(operations.work()),
        ]
        try:
            yield operations
        finally:
            for each in owned:
                each.cancel()
            await operations.leave()


def _topic(tenant: str, name: str) -> str:
    return f"operation/{tenant}/{name}"


def _desk(owner: str) -> str:
    return f"worker/{owner}"
