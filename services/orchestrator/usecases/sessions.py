"""What callers can do with sessions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from services.chassis import ids
from services.chassis.errors import Aborted, Violation, invalid
from services.chassis.eventlog.port import Condition
from services.chassis.paging import fitting
from services.chassis.starts import once, owned
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.wanted import Wanted, check, copied, forked, updated
from services.orchestrator.places import ATTEMPTS, Cancel, contended
from services.orchestrator.ports import SessionStore
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.world import World

_EVENTS: Final = 32
DELETED: Final = "its session was deleted"


class Sessions:
    """Begins, shows and ends sessions."""

    def __init__(self, world: World, store: SessionStore, cancel: Cancel) -> None:
        self._world = world
        self._store = store
        self._cancel = cancel

    async def create(self, caller: Caller, wanted: Wanted) -> ss.Session:
        """Begin a session without turns, or find the one that the key stands for."""

        async def events() -> Sequence[ss.Event]:
            return [self._created(caller, wanted.on_busy or "reject", wanted.labels)]

        return await self._begin(caller, wanted, events)

    async def fork(
        self, caller: Caller, session_id: str, message: int, wanted: Wanted
    ) -> ss.Session:
        """Begin a session with what was said in another one, up to a message."""
        if message < 0:
            fix = "send the number of a message, or 0 for all of them"
            raise invalid(Violation("message", "is negative", fix))

        async def events() -> Sequence[ss.Event]:
            source = await self.get(caller, session_id)
            policy, labels = wanted.on_busy or source.on_busy, wanted.labels or source.labels
            return await self._copied(
                source, self._created(caller, policy, labels, source), message
            )

        return await self._begin(caller, wanted, events)

    async def _copied(
        self, source: ss.Session, created: ss.Created, message: int
    ) -> Sequence[ss.Event]:
        """The beginning of a fork: turns up to the message, and the latest summary of them."""
        turns: list[ss.TurnAdded] = []
        summary, after = None, 0
        while events := await self._store.events(source, after=after, limit=_EVENTS):
            after = events[-1][0]
            exchanges = await self._world.memory.exchanges(source, events)
            turns += [copied(each, created.time) for each in exchanges]
            for _, event in events:
                if isinstance(event, ss.Summarized) and _is_within(event.summary, message):
                    summary = event.summary
        return forked(created, turns, summary, message)

    async def get(self, caller: Caller, session_id: str) -> ss.Session:
        """A session as it stands."""
        return await self._world.places.find(caller.tenant, session_id)

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Sessions of the caller's tenant, the newest first, as they go over the wire."""
        return await self._store.page(caller.tenant, where, after=after, limit=limit)

    async def messages(
        self, caller: Caller, session_id: str, *, after: int, seen: int, limit: int
    ) -> tuple[Sequence[ss.Line], bool]:
        """Messages with a number above `seen`, of turns with a sequence above `after`; and whether
        there are more. Long ones make a page shorter."""
        session = await self.get(caller, session_id)
        lines: list[ss.Line] = []
        while events := await self._store.events(session, after=after, limit=_EVENTS):
            after = events[-1][0]
            for exchange in await self._world.memory.exchanges(session, events):
                lines += [line for line in exchange.lines if line.number > seen]
            shown = lines[: fitting(len(line.content.encode()) for line in lines[:limit])]
            if len(shown) < len(lines):
                return shown, True
        return lines, False

    async def update(self, caller: Caller, session_id: str, wanted: Wanted) -> ss.Session:
        """Change a session's policy and labels."""

        async def change(session: ss.Session) -> ss.Event | None:
            return updated(session, wanted, self._world.now())

        return await self._change(caller, session_id, change)

    async def delete(self, caller: Caller, session_id: str) -> None:
        """End a session, and whatever goes on in it."""

        async def change(session: ss.Session) -> ss.Event:
            await self._world.places.close(session, DELETED, self._cancel)
            return ss.Deleted(self._world.now())

        await self._change(caller, session_id, change)

    async def _change(
        self,
        caller: Caller,
        session_id: str,
        change: Callable[[ss.Session], Awaitable[ss.Event | None]],
    ) -> ss.Session:
        """Read, decide and write; again where somebody else was first."""
        for _ in range(ATTEMPTS):
            session = await self.get(caller, session_id)
            with suppress(Aborted):
                if (event := await change(session)) is None:
                    return session
                return await self._store.append(session, [event])
        raise contended(session_id)

    def _created(
        self,
        caller: Caller,
        on_busy: str,
        labels: Mapping[str, str],
        source: ss.Session | None = None,
    ) -> ss.Created:
        session_id, forked_from = ids.new("session"), source.session_id if source else ""
        now, tenant, owner = self._world.now(), caller.tenant, caller.subject
        return ss.Created(now, session_id, tenant, owner, on_busy, labels, forked_from)

    async def _begin(
        self, caller: Caller, wanted: Wanted, events: Callable[[], Awaitable[Sequence[ss.Event]]]
    ) -> ss.Session:
        check(wanted)
        if not wanted.key:
            return await self._store.append(None, await events())
        key = owned("session", caller.subject, wanted.key, wanted.fingerprint)

        async def begin() -> ss.Session:
            return await self._store.append(None, await events(), key)

        return await once(
            key,
            lambda: self._store.kept(caller.tenant, key),
            lambda session_id: self.get(caller, session_id),
            begin,
        )


def _is_within(summary: ss.Summary, message: int) -> bool:
    return not message or 2 * summary.through_turn <= message
