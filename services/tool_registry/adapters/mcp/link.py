"""One server's link in this process: connected, listened to, and connected again.

It imports the SDK only when it runs.
"""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from services.chassis.egress.lookups import on_behalf
from services.chassis.errors import ServiceError
from services.tool_registry.adapters.mcp.bounds import (
    BACKOFF_LEAST,
    BACKOFF_MOST,
    CONNECT_SECONDS,
    cut,
)
from services.tool_registry.adapters.mcp.lost import Lost
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.adapters.mcp.rests import Rests
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.server import (
    MAX_SKIPPED,
    Lists,
    Seen,
    Server,
    State,
    unavailable,
)
from services.tool_registry.domain.texts import plain
from services.tool_registry.ports import Imports

if TYPE_CHECKING:
    from services.tool_registry.adapters.mcp.conversation import Conversation
    from services.tool_registry.adapters.mcp.lists import Taken

log = logging.getLogger(__name__)

T = TypeVar("T")
_STEADY_SECONDS: Final = 10.0
"""A link that lasted so long begins to count its failures anew."""
_DOUBTS_SECONDS: Final = 1.0


class _Forgotten(Exception):
    """The server is registered no more, or is another one now."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What every link needs."""

    outside: Outside
    imports: Imports
    now: Callable[[], datetime]
    chance: Callable[[], float]
    """Between 0 and 1."""
    look: Callable[[], None]
    """Called when a registration is not what it was: the links are to be others."""


class Link:
    """Knows what a server has, and whether it can be asked. `run` keeps it so."""

    def __init__(self, tenant: str, server: Server, kit: Kit) -> None:
        self.tenant = tenant
        self.server = server
        self.seen = Seen()
        self.lists = Lists()
        self.since = _clock()
        """When it was begun, on the loop's clock."""
        self._kit = kit
        self._session: Conversation | None = None
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._is_urgent = False
        self._asked: list[asyncio.Future[None]] = []
        self._answered = 0
        """How many of these the lists that are being taken will do for."""
        self._doubted = 0.0
        self._is_closed = False

    async def run(self) -> None:
        """Connect, and again whenever that ends, until the server is registered no more."""
        failures = 0
        on_behalf.set(self.tenant)
        await _loaded()
        from services.tool_registry.adapters.mcp import sdk  # noqa: PLC0415 - loaded

        sdk.quiet()
        while not self._is_closed:
            began = _clock()
            try:
                outside, kind = self._kit.outside, sdk.Conversation
                opening = sdk.session(self.tenant, self.server, outside, self._changed, kind)
                await self._connect(opening)
            except Exception as error:  # noqa: BLE001 - `problem` tells and logs what is ours
                self._down(sdk.problem(error))
            failures = 0 if _clock() - began > _STEADY_SECONDS else failures + 1
            delay = min(BACKOFF_LEAST * 2**failures, BACKOFF_MOST)
            await self._woken(_clock() + delay * (0.5 + self._kit.chance() / 2))

    @property
    def is_first_try(self) -> bool:
        """Whether the server has neither been reached yet nor failed to be."""
        return self.seen.state is State.CONNECTING

    async def settled(self) -> None:
        """Wait until the server was reached, or could not be."""
        await self._settled.wait()

    def holds(self, server: Server) -> bool:
        """Whether it is a link to this server, as it is registered, that goes on."""
        return self.server == server and not self._is_closed

    async def refresh(self) -> None:
        """Take the lists now.

        Raises:
            Unavailable: `MCP_SERVER_UNAVAILABLE`.
        """
        if self._is_closed:
            raise self._unavailable(self.seen.problem)
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._urge()
        await asked

    async def ask(self, question: "Callable[[Conversation], Awaitable[T]]", *, reason: str) -> T:
        """Ask the server something; while it is tried for the first time, wait for that.

        Raises:
            Unavailable: with this reason; it cannot be reached, or the connection broke.
        """
        if self.is_first_try:
            await self.settled()
        if (session := self._session) is None:
            raise unavailable(self.server.namespace, self.seen.problem, reason=reason)
        try:
            return await session.ask(question)
        except Lost as error:
            self._doubt()
            raise unavailable(self.server.namespace, str(error), reason=reason) from None

    def close(self) -> None:
        """Let nobody wait any more, and `run` end at its next step if its task is not cancelled.

        A cancellation that comes while one of anyio's groups ends is taken for the group's own.
        """
        self._is_closed = True
        self._settle("it is let go of")

    def _changed(self) -> None:
        self._wake.set()

    def _urge(self) -> None:
        self._is_urgent = True
        self._wake.set()

    def _doubt(self) -> None:
        """See soon whether the server is still there."""
        if _clock() - self._doubted > _DOUBTS_SECONDS:
            self._doubted = _clock()
            self._urge()

    async def _connect(self, opening: "AbstractAsyncContextManager[Conversation]") -> None:
        """Returns when the link is let go of."""
        async with _within(opening, CONNECT_SECONDS) as session, asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(session))
            hearing = group.create_task(self._hear(session))
            try:
                await self._keep(session)
            finally:
                self._session = None
                watching.cancel()
                hearing.cancel()

    async def _keep(self, session: "Conversation") -> None:
        """Take the lists, and again when it is time. Returns when the link is let go of."""
        least = self._kit.outside.bounds.ttl_least
        rests = Rests(least)
        while not self._is_closed:
            self._answered = len(self._asked)
            taken = await session.taken(self.server)
            self._session = session
            try:
                brought, problem = await self._import(taken)
            except _Forgotten:
                self._is_closed = True
                self._down("its registration was changed, or is no more")
                self._kit.look()
                return
            self._up(session, taken, brought, problem)
            ttl = least if problem else taken.ttl_seconds
            now = _clock()
            rest = rests.after(now, has_changes=brought is not None and _has_changes(brought))
            await self._woken(now + max(ttl, rest), soonest=now + rest)
            await session.blame()

    async def _import(self, taken: "Taken") -> tuple[Brought | None, str]:
        try:
            brought = await self._kit.imports.take(self.tenant, self.server, taken.entries)
        except ServiceError as error:
            log.warning(
                "tools of an mcp server were not taken",
                extra={"namespace": self.server.namespace, "reason": error.reason},
            )
            return None, f"tools: they could not be registered: {cut(error.message, 300)}"
        if brought is None:
            raise _Forgotten
        return brought, ""

    async def _watch(self, session: "Conversation") -> None:
        if session.program is not None:
            await session.program.ended.wait()
            await session.program.settled()
            self._urge()

    async def _hear(self, session: "Conversation") -> None:
        """Hear of changes, and see whether the server is there when it stops to tell of them."""
        while True:
            began = _clock()
            if not await session.hear(self._changed):
                return
            self._doubt()
            least = self._kit.outside.bounds.ttl_least
            await asyncio.sleep(max(least - (_clock() - began), _DOUBTS_SECONDS))

    async def _woken(self, due: float, *, soonest: float | None = None) -> None:
        """Wait until it is time, or somebody asks; after a change, until `soonest`."""
        while not self._is_urgent:
            try:
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            except TimeoutError:
                break
            self._wake.clear()
            if soonest is not None:
                due = min(due, soonest)
        self._is_urgent = False
        self._wake.clear()

    def _up(
        self, session: "Conversation", taken: "Taken", brought: Brought | None, problem: str
    ) -> None:
        left_out = brought.skipped if brought is not None else {}
        skipped = [problem] if problem else []
        skipped += [f"tool {name}: {cut(why, 300)}" for name, why in left_out.items()]
        skipped += taken.skipped
        info = session.info
        self.lists = taken.lists
        self.seen = Seen(
            state=State.CONNECTED,
            protocol_version=session.version,
            name=cut(plain(info.name), 128) if info else "",
            version=cut(plain(info.version), 128) if info else "",
            tool_count=self.seen.tool_count if brought is None else _count(brought),
            skipped=tuple(skipped[:MAX_SKIPPED]),
            refresh_time=self._kit.now(),
        )
        self._settled.set()
        asked, self._asked = self._asked[: self._answered], self._asked[self._answered :]
        for each in asked:
            if not each.done():
                each.set_result(None)

    def _down(self, problem: str) -> None:
        if self.seen.problem != problem:
            extra = {"namespace": self.server.namespace, "tenant": self.tenant}
            log.warning("mcp server unavailable", extra=extra)
        self._settle(problem)

    def _settle(self, problem: str) -> None:
        self._session = None
        self.seen = replace(self.seen, state=State.UNAVAILABLE, problem=problem)
        self._settled.set()
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(self._unavailable(problem))
        self._asked.clear()

    def _unavailable(self, problem: str) -> ServiceError:
        return unavailable(self.server.namespace, problem, reason="MCP_SERVER_UNAVAILABLE")


@asynccontextmanager
async def _within(opening: "AbstractAsyncContextManager[T]", seconds: float) -> AsyncIterator[T]:
    """The same, opened in so much time. Raises TimeoutError."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(seconds):
            opened = await stack.enter_async_context(opening)
        yield opened


async def _loaded() -> None:
    """The SDK costs half a second of CPU: who links none, loads none, and nobody waits for it."""
    await asyncio.to_thread(importlib.import_module, f"{__package__}.sdk")


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _has_changes(brought: Brought) -> bool:
    return any(outcome != "unchanged" for outcome in brought.outcomes.values())


def _count(brought: Brought) -> int:
    return sum(outcome != "removed" for outcome in brought.outcomes.values())
