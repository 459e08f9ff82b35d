"""What callers can say to tasks that are under way."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Internal, InvalidArgument, ServiceError, Violation, invalid
from services.chassis.starts import check_length
from services.orchestrator.domain import asking, letters
from services.orchestrator.domain import request as rq
from services.orchestrator.domain.letters import Cancel, Decide, Respond, Say, Word
from services.orchestrator.domain.task import Task
from services.orchestrator.post import Post
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.usecases.tasks import Started, Tasks

log = logging.getLogger(__name__)

HEARD_SECONDS: Final = 5.0  # How long to wait for a task to hear; it will, even so.


@dataclass(frozen=True, slots=True)
class Join:
    """Which task to talk with, and what of it is known already."""

    task_id: str
    after: int


Said = rq.Request | Join | Word
Heard = bytes | ServiceError | None
"""An event; what ends the talk before its task; or the task's end."""


class Talks:
    """Passes words on to tasks."""

    def __init__(self, tasks: Tasks, post: Post) -> None:
        self._tasks = tasks
        self._post = post

    async def tell(self, caller: Caller, task_id: str, word: Word) -> Task:
        """Say something to a task; the task once it has heard.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
            FailedPrecondition: it cannot be said to this task, or not now.
            AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
        """
        before, is_news = await self._say(caller, task_id, word)
        return await self._once_heard(caller, before, word) if is_news else before

    async def _say(self, caller: Caller, task_id: str, word: Word) -> tuple[Task, bool]:
        """The task before it heard, and whether it is told anything new."""
        letters.check(word)
        if isinstance(word, Say):
            check_length(word.key)
        task = await self._tasks.get(caller, task_id)
        if is_news := letters.is_news(task, word):
            letters.check_said(task, word)
            self._check_forms(task, word)
            await self._post.send(caller.tenant, task_id, word)
        return task, is_news

    def _check_forms(self, task: Task, word: Word) -> None:
        """Refuse answers that are not as the tool asked for them. One that asks by a schema that is
        none has to look itself."""
        call = task.call(word.call_id) if isinstance(word, Respond) else None
        if not isinstance(word, Respond) or call is None or call.requests is None:
            return
        for field, schema, content in asking.forms(call.requests, word.responses):
            try:
                faults = self._post.world.schemas.violations(schema, content, field=field)
            except InvalidArgument:
                continue
            if faults:
                raise invalid(*faults)

    async def converse(
        self, said: AsyncIterator[Said], caller: Caller
    ) -> AsyncGenerator[bytes, None]:
        """Start or join a task, pass on what is said to it, and yield its events.

        Closing the generator cancels a task that it started, unless it is to go on.
        """
        opening = await anext(said, None)
        if isinstance(opening, rq.Request):
            started = await self._tasks.start(opening, caller)
            task_id, after = started.task.spec.task_id, 0
        elif isinstance(opening, Join):
            started, task_id, after = None, opening.task_id, opening.after
        else:
            raise invalid(Violation("start", "is missing", "send start or join first"))
        heard: asyncio.Queue[Heard] = asyncio.Queue(1)
        events = self._tasks.watch(caller, task_id, after=after)
        spawn = self._post.world.spawn
        ways = [
            spawn(_guarded(self._pass_on(said, caller, task_id), heard)),
            spawn(_guarded(_copy(events, heard), heard)),
        ]
        try:
            while (item := await heard.get()) is not None:
                if isinstance(item, ServiceError):
                    started = None  # It was not the client who went away.
                    raise item
                yield item
        finally:
            for way in ways:
                way.cancel()
            self._leave(started)

    def _leave(self, started: Started | None) -> None:
        if started is not None:
            self._tasks.leave(started)

    async def _pass_on(self, said: AsyncIterator[Said], caller: Caller, task_id: str) -> None:
        async for word in said:
            if isinstance(word, rq.Request | Join):
                fix = "start and join come once, and first"
                raise invalid(Violation("start", "comes after the first message", fix))
            if isinstance(word, Cancel):
                await self._tasks.cancel(caller, task_id, reason=word.reason)
            else:
                await self._say(caller, task_id, word)

    async def _once_heard(self, caller: Caller, before: Task, word: Word) -> Task:
        task_id, task = before.spec.task_id, before
        watching = self._tasks.watch(caller, task_id, after=before.sequence)
        try:
            async with asyncio.timeout(HEARD_SECONDS), aclosing(watching) as events:
                async for _ in events:
                    task = await self._tasks.advance(task)
                    if _has_heard(before, task, word):
                        return task
        except TimeoutError:
            return task
        letters.check_open(task)
        return task


def _has_heard(before: Task, task: Task, word: Word) -> bool:
    """Whether a task knows it now. Raises FailedPrecondition when it came too late."""
    if isinstance(word, Decide | Respond):
        earlier, later = before.call(word.call_id), task.call(word.call_id)
        if earlier and later and later.answers > earlier.answers:
            return True  # Its tool may have asked for more since.
    if isinstance(word, Say) and not word.key:
        return _count(task, word.text) > _count(before, word.text)
    return not letters.is_news(task, word)


def _count(task: Task, text: str) -> int:
    return sum(each == text for _, each in task.said)


async def _copy(events: AsyncGenerator[bytes, None], heard: asyncio.Queue[Heard]) -> None:
    async with aclosing(events):
        async for event in events:
            await heard.put(event)
    await heard.put(None)


async def _guarded(work: Coroutine[None, None, None], heard: asyncio.Queue[Heard]) -> None:
    """Whatever goes wrong ends the talk, and nothing else."""
    try:
        await work
    except ServiceError as error:
        await heard.put(error)
    except Exception:
        log.exception("talk failed")
        await heard.put(Internal("INTERNAL", "internal error"))
