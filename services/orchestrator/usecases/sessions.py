"""What callers can do with sessions."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from services.chassis import ids
from services.chassis.errors import Aborted, AlreadyExists
from services.chassis.eventlog.port import Condition, Key
from services.orchestrator.domain import session as ss
from services.orchestrator.ports import SessionStore
from services.orchestrator.run import World
from services.orchestrator.turns import ATTEMPTS, Cancel
from services.orchestrator.usecases.caller import Caller

KEYS_LAST: Final = timedelta(hours=24)
PAGE_BYTES: Final = 1024 * 1024  # Of a page of messages: it has to fit into one answer.
_EVENTS: Final = 32
DELETED: Final = "its session was deleted"


class Sessions:
    """Begins, shows and ends sessions."""

    def __init__(self, world: World, store: SessionStore, cancel: Cancel) -> None:
        self._world = world
        self._store = store
        self._cancel = cancel

    async def create(
        self,
        caller: Caller,
        on_busy: str,
        labels: Mapping[str, str],
        *,
        idempotency_key: str,
        fingerprint: str,
    ) -> ss.Session:
        """Begin a session without turns, or find the one that the key stands for."""
        ss.check(on_busy, labels, idempotency_key)
        session_id, policy = ids.new("session"), on_busy or "reject"
        created = ss.Created(
            self._world.now(), session_id, caller.tenant, caller.subject, policy, labels
        )
        return await self._begin(caller, [created], idempotency_key, fingerprint)

    async def get(self, caller: Caller, session_id: str) -> ss.Session:
        """A session as it stands."""
        return await self._world.turns.find(caller.tenant, session_id)

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
        room = PAGE_BYTES
        while events := await self._store.events(session, after=after, limit=_EVENTS):
            after = events[-1][0]
            for exchange in await self._world.memory.exchanges(session, events):
                said = [line for line in exchange.lines if line.number > seen]
                room -= sum(len(line.content.encode()) for line in said)
                if lines and room < 0:
                    return lines, True
                lines += said
                if len(lines) > limit:
                    return lines[:limit], True
        return lines, False

    async def delete(self, caller: Caller, session_id: str) -> None:
        """End a session, and whatever goes on in it."""
        for _ in range(ATTEMPTS):
            session = await self.get(caller, session_id)
            await self._world.turns.close(session, DELETED, self._cancel)
            try:
                await self._store.append(session, [ss.Deleted(self._world.now())])
            except Aborted:
                continue  # Another turn came first.
            return
        raise Aborted("SESSION_CONTENDED", f"{session_id} changed all the time")

    async def _begin(
        self, caller: Caller, events: Sequence[ss.Event], key: str, fingerprint: str
    ) -> ss.Session:
        if not key:
            return await self._store.append(None, events)
        owned = Key("session", f"{caller.subject}/{key}", fingerprint, KEYS_LAST)
        if (known := await self._known(caller, owned)) is not None:
            return known
        try:
            return await self._store.append(None, events, owned)
        except AlreadyExists:  # Somebody else began it since.
            if (known := await self._known(caller, owned)) is None:
                raise
            return known

    async def _known(self, caller: Caller, key: Key) -> ss.Session | None:
        """The session of a key. Refuses a key that stands for another request."""
        if (kept := await self._store.kept(caller.tenant, key)) is None:
            return None
        if kept.fingerprint != key.fingerprint:
            raise AlreadyExists(
                "IDEMPOTENCY_KEY_REUSED",
                f"the idempotency key stands for {kept.stream_id}, which was asked for differently",
                session_id=kept.stream_id,
                field="idempotency_key",
                suggested_fix="send the same request, or another key",
            )
        return await self.get(caller, kept.stream_id)
