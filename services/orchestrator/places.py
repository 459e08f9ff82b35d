"""Who is next in a session: of two who start at once one is first, and the other sees that.

A turn is added to the session before its task's log begins. Where a crash came between the two, the
turn has no task: it is void once it is older than `GRACE`, for a start takes a fraction of that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.chassis.errors import Aborted, AlreadyExists, ServiceError
from services.chassis.eventlog.port import Key
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.place import Place
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import SessionStore, TaskLog

log = logging.getLogger(__name__)

GRACE: Final = timedelta(seconds=10)
PATIENCE: Final = timedelta(seconds=1)  # Of who is refused anyway, for a task that is to begin.
FIRST_LOOK: Final = 0.02  # For a task that is to begin; then less and less often.
LAST_LOOK: Final = 0.5
ATTEMPTS: Final = 64  # Each is lost to somebody else who gets on.
INTERRUPTED: Final = "interrupted by the next turn of its session"

Cancel = Callable[[Task, str], Awaitable[Task]]
CheckRoom = Callable[[bool], None]


class Places:
    """Lets tasks into sessions, one after the other."""

    def __init__(self, sessions: SessionStore, tasks: TaskLog, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._tasks = tasks
        self._now = now

    async def find(self, tenant: str, session_id: str) -> ss.Session:
        """A session.

        Raises:
            NotFound: `SESSION_NOT_FOUND`.
        """
        return ss.existing(await self._sessions.find(tenant, session_id), session_id)

    async def enter(
        self, spec: ev.Spec, key: Key | None, cancel: Cancel, check_room: CheckRoom
    ) -> ev.Spec:
        """Make a task the next turn of its session; the task with its place there.

        Raises:
            NotFound: `SESSION_NOT_FOUND`.
            FailedPrecondition: `SESSION_BUSY`; a task goes on, and this one is not to wait for it.
            FailedPrecondition: `SESSION_FULL`.
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`; the task that was waited for is this one.
            Aborted: `SESSION_CONTENDED`; others were first again and again.
            ServiceError: what `check_room` raises, which is told whether the task has to wait.
        """
        for _ in range(ATTEMPTS):
            session = await self.find(spec.tenant, spec.session_id)
            ss.check_room(session)
            try:
                place = await self._placed(spec, session, key, (cancel, check_room))
                if place is not None:
                    return replace(spec, place=place)
            except Aborted:
                continue
        raise contended(spec.session_id)

    async def _placed(
        self, spec: ev.Spec, session: ss.Session, key: Key | None, ways: tuple[Cancel, CheckRoom]
    ) -> Place | None:
        """One attempt; None where it is to be made again. Raises `Aborted` as `_open` does."""
        cancel, check_room = ways
        policy = spec.on_busy or session.on_busy
        before = await self._open(session, PATIENCE if policy == "reject" else GRACE)
        if key is not None and await self._tasks.kept(spec.tenant, key) is not None:
            raise AlreadyExists("IDEMPOTENCY_KEY_TAKEN", "the same start came first")
        if before and policy == "reject":
            raise ss.busy(session, before)
        if before and policy == "interrupt":
            await self._cancel(session, before, INTERRUPTED, cancel)
            return None
        check_room(bool(before))  # A turn that is refused later takes up the session all the same.
        added = ss.TurnAdded(self._now(), session.turns + 1, spec.task_id, before)
        after = await self._sessions.append(session, [added])
        return Place(after.turns, after.sequence, before)

    async def leave(self, spec: ev.Spec, why: BaseException) -> None:
        """No task came of a turn: it was refused, or its caller left. Nobody is to wait for it.

        Where nothing is known of the outcome the turn stays: it has a task, or is void in time.
        What was on its way to the store when the caller left arrives there, and is waited for.
        """
        if isinstance(why, ServiceError) and not (spec.place.sequence and _is_known(why)):
            return
        try:
            if not isinstance(why, ServiceError):
                await asyncio.sleep(PATIENCE.total_seconds())
            if await self._sessions.said(spec.tenant, spec.task_id) is None:
                await self._void(spec)
        except ServiceError as error:
            named = {"session_id": spec.session_id, "error_code": error.reason}
            log.warning("turn not given back", extra=named)

    async def _void(self, spec: ev.Spec) -> None:
        for _ in range(ATTEMPTS):
            session = await self.find(spec.tenant, spec.session_id)
            if session.last != spec.task_id:
                return
            with suppress(Aborted):
                await self._sessions.append(session, [ss.TurnVoided(self._now(), spec.task_id)])

    async def close(self, session: ss.Session, reason: str, cancel: Cancel) -> None:
        """Cancel whatever goes on in a session."""
        if before := await self._open(session, GRACE):
            await self._cancel(session, before, reason, cancel)

    async def passed(self, spec: ev.Spec) -> None:
        """Wait until the task before this one has ended."""
        while True:
            try:
                return await self._pass(spec.tenant, spec.place.follows)
            except ServiceError as error:
                named = {"task_id": spec.task_id, "error_code": error.reason}
                log.warning("the task before is not found", extra=named)
            await asyncio.sleep(PATIENCE.total_seconds())

    async def _pass(self, tenant: str, before: str) -> None:
        while before := await self._still_open(tenant, before):
            await self._tasks.until_end(tenant, before)

    async def _open(self, session: ss.Session, patience: timedelta) -> str:
        """The latest task that goes on in a session, if one does. One that is to begin is waited
        for; who has no patience for that takes it as one that goes on.

        Raises:
            Aborted: the session has changed meanwhile.
        """
        if not session.last:
            return ""
        now, look = asyncio.get_running_loop().time, FIRST_LOOK
        end = now() + patience.total_seconds()
        while await self._sessions.said(session.tenant, session.last) is None:
            is_over = now() >= end
            if is_over and patience < GRACE:
                return session.last
            if is_over or self._now() - session.update_time >= GRACE:
                return await self._still_open(session.tenant, session.follows)
            await asyncio.sleep(min(look, end - now()))
            look = min(2 * look, LAST_LOOK)
            if await self._sessions.find(session.tenant, session.session_id) != session:
                raise contended(session.session_id)
        return await self._still_open(session.tenant, session.last)

    async def _still_open(self, tenant: str, task_id: str) -> str:
        """This task, unless it has ended. One that ended while it waited leaves those before it."""
        while task_id and (said := await self._sessions.said(tenant, task_id)) is not None:
            if not said.is_over:
                return task_id
            task_id = said.follows
        return ""

    async def _cancel(self, session: ss.Session, task_id: str, reason: str, cancel: Cancel) -> None:
        """Cancel a task and those it waits for; the latest first, so that none of them starts."""
        tenant = session.tenant
        while task_id and (said := await self._sessions.said(tenant, task_id)) is not None:
            if not said.is_over:
                await cancel(await self._tasks.load(tenant, task_id), reason)
            task_id = said.follows


def _is_known(outcome: ServiceError) -> bool:
    return outcome.reason != "EVENT_STORE_UNAVAILABLE"


def contended(session_id: str) -> ServiceError:
    """Why nothing was changed: others always were first."""
    return Aborted(
        "SESSION_CONTENDED",
        f"others were first in {session_id} {ATTEMPTS} times",
        session_id=session_id,
        suggested_fix="send it again",
    ).after(PATIENCE)
