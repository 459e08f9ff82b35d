"""One task being run: the agent loop. All that happens becomes an event of the task's log."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.eventlog.port import Claim, Letter
from services.orchestrator import single
from services.orchestrator.delegation import GRACE, LOOK_SECONDS, after_children, gone_on
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.catalogue import not_offered
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.letters import Cancel, Moment, Word, heard
from services.orchestrator.domain.repeating import repeats_a_failure
from services.orchestrator.domain.task import State, Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.falling import Falling
from services.orchestrator.inbox import expire
from services.orchestrator.kit import Kit
from services.orchestrator.ports import LogLost
from services.orchestrator.speaking import Speaking
from services.orchestrator.world import World

log = logging.getLogger(__name__)

INTERNAL: Final = ev.Failure("INTERNAL", "INTERNAL", "internal error")


class Parked(Exception):
    """The task waits, and is nobody's until there is something for it."""


class Run:
    """Runs one task to its end, from wherever its log stands. Its owner calls `execute`; anyone
    may `cancel` or `tell`."""

    def __init__(
        self,
        world: World,
        task: Task,
        claim: Claim | None = None,
        equipment: Equipment | None = None,
    ) -> None:
        """Without a claim it may think already, and writes nothing until `begin`."""
        self.spec = task.spec
        self.done = asyncio.Event()
        self.is_lost = False
        """Whether it is done here though the task is not: another worker goes on with it."""
        self.still = asyncio.Event()
        """Set while the task waits for somebody, and once it is done here."""
        self.world = self._world = world
        self._kit = Kit(world, task, claim, equipment)
        self._journal = self._kit.journal
        self._speaking = Speaking(self._kit)
        self._scope: asyncio.Timeout | None = None
        self._canceled: str | None = None
        self._is_given_up = False

    @property
    def task(self) -> Task:
        """The task as it stands."""
        return self._journal.task

    @property
    def claim(self) -> Claim | None:
        """Under which it writes; None before its log has begun, and once it is given back."""
        return self._journal.claim

    @property
    def deadline(self) -> float:
        """When it ends at the latest, in the loop's time, unless it waits for something first."""
        return self._kit.deadline

    @property
    def has_to_wait(self) -> bool:
        """Whether another task of its session comes first."""
        return self.task.state is State.PENDING and bool(self.spec.place.follows)

    async def passed(self) -> None:
        """Wait for that task to end."""
        await self._world.places.passed(self.spec)

    def begin(self, claim: Claim) -> None:
        """Its log has begun, and is this run's to go on with."""
        self._journal.begin(claim)

    def forsake(self, reason: str) -> None:
        """Its log has not begun, and will not: there is no such task."""
        self._journal.fail(reason)
        self.give_up()

    def cancel(self, reason: str) -> None:
        """Stop what it does and end the task; `done` is set when that has happened."""
        if self._canceled is None:
            self._canceled = reason
            expire(self._scope)

    @property
    def canceled(self) -> str | None:
        """Why somebody wants its end; None as long as nobody does."""
        return self._canceled

    def give_up(self) -> None:
        """Stop without an end: the claim is lost, and another worker goes on."""
        self._is_given_up = True
        expire(self._scope)

    @property
    def known(self) -> Collection[int]:
        """The numbers of the letters that it was told and that may lie there still."""
        return self._kit.inbox.known

    def tell(self, letter: Letter) -> None:
        """Something for the task. It is dealt with once, however often it is told."""
        word = self._kit.inbox.put(letter)
        if isinstance(word, Cancel):
            self.cancel(word.reason)

    async def execute(self) -> None:
        """Run to the end. Whatever goes wrong becomes the task's end, not an exception."""
        self.is_lost = True
        try:
            await self._end(await self._outcome())
            self.is_lost = False
            self._reflect()
        except Parked:
            log.info("task waits", extra=self._named())
        except LogLost as lost:
            log.warning("task given up", extra=self._named() | {"cause": str(lost)})
        except Exception:
            log.exception("task cannot be written", extra=self._named())
        finally:
            self._speaking.close()
            self.still.set()
            self.done.set()

    async def _outcome(self) -> ev.Event | None:
        """What the task comes to; None if its log says so already."""
        try:
            if self._canceled is not None or self._is_given_up:
                return self._stopped()
            await self._live()
            return None if self.task.is_closed else ev.Completed(self._world.now())
        except TimeoutError:
            return None if self.task.is_closed else self._stopped()
        except ServiceError as error:
            error.with_traceback(None)  # Its frames hold this run.
            return ev.Failed(self._world.now(), failure(error))
        except (LogLost, Parked):
            raise
        except Exception:
            log.exception("task failed", extra=self._named())
            return ev.Failed(self._world.now(), INTERNAL)

    async def _live(self) -> None:
        """Work and wait in turn, each within its deadline. A cancel ends the scope, too."""
        is_over = False
        try:
            while not is_over:
                if self._canceled is not None or self._is_given_up:
                    raise TimeoutError  # It came when a scope was over already.
                self._kit.deadline = self._kit.reckoned()
                async with asyncio.timeout_at(self._kit.deadline) as self._scope:
                    if self.task.state is State.WAITING:
                        await self._wait()
                    else:
                        is_over = await self._work()
        finally:
            self._scope = None

    async def _wait(self) -> None:
        """Until there is something for the task; not for long in this process."""
        self.still.set()
        try:
            await self._heed(await gone_on(self.task, self._world.children))
            async with asyncio.timeout(self._world.linger.total_seconds()):
                while self.task.state is State.WAITING:
                    await self._kit.inbox.wait()
                    await self._hear()
        except TimeoutError:
            if self.task.state is not State.WAITING:
                return
            await self._park()
            raise Parked from None
        finally:
            if self.task.state is not State.WAITING:
                self.still.clear()

    async def _park(self) -> None:
        """Be nobody's until there is something for the task, or it is time to look at its
        children."""
        left = self._kit.left()
        if self.task.waiting_children:
            left = min(left, LOOK_SECONDS)
        await self._journal.park(timedelta(seconds=left))

    async def _work(self) -> bool:
        """All steps; whether the task is over, and not waiting."""
        if self.task.is_answered:
            return True
        if self._kit.held is None:
            await Falling(self._kit).equip()
        if self.task.state is State.PENDING:
            await self._claim()
        await Falling(self._kit).own_up()
        if (pinned := self.spec.pinned) is not None and pinned.left_out:
            await self._kit.warn("TOOLS_NOT_OFFERED", not_offered(pinned))
        await self._remember()
        return await self._steps()

    async def _claim(self) -> None:
        """Begin to run after waiting, with what was said in the session by now."""
        chosen = await self._world.memory.choose(self.spec, self._kit.equipment)
        window = chosen.window if chosen else None
        await self._journal.append(ev.Claimed(self._world.now(), window))
        if chosen and self._kit.held is not None:
            self._kit.held = replace(self._kit.held, history=chosen.messages)

    async def _remember(self) -> None:
        """Look up what it is shown of its session, and say what is missing."""
        if (window := self.task.window) is None or self._kit.held is None:
            return
        if not self._kit.held.history:
            history = await self._world.memory.recall(self.spec, window)
            self._kit.held = replace(self._kit.held, history=history)
        if window.is_cut:
            why = "the oldest turns of the session do not fit, and no summary of them is there yet"
            await self._kit.warn("HISTORY_CUT", why)

    def _reflect(self) -> None:
        """Have what the next task will not be shown written down, in the background."""
        window, equipment = self.task.window, self._kit.held
        if window is not None and window.summarize_through and equipment is not None:
            through = window.summarize_through
            writing = self._world.memory.summarize(self.spec, equipment.model, through)
            self._world.spawn(writing)

    async def _end(self, outcome: ev.Event | None) -> None:
        """What was said and not passed on is kept: the log has all that was produced."""
        if outcome is None:
            return
        outcome = await after_children(self.task, outcome, self._world.children, self._world.now)
        if isinstance(outcome, ev.Failed | ev.Canceled):
            outcome = replace(outcome, turn=await self._speaking.took_in_all())
        if isinstance(outcome, ev.Failed):
            log.info("task failed", extra=self._named() | {"error_code": outcome.failure.reason})
        await self._journal.append(*await self._speaking.rest(), outcome)
        if self.task.waits:
            self._tell_parent()

    def _stopped(self) -> ev.Event:
        """The scope ended: the claim is lost, someone cancelled, or the deadline passed."""
        if self._is_given_up:
            raise LogLost("CLAIM_LOST")
        if self._canceled is not None:
            return ev.Canceled(self._world.now(), self._canceled)
        if self.task.state is State.WAITING:
            message = f"nobody gave the task what it waited for: {self.task.wants}"
            fix = "start it again, and answer it in time"
            failed = ev.Failure("DEADLINE_EXCEEDED", "TASK_WAIT_EXPIRED", message, fix)
        else:
            message = "the task's deadline passed before it had an answer"
            fix = "raise timeout_ms, or ask for less"
            failed = ev.Failure("DEADLINE_EXCEEDED", "TASK_TIMEOUT", message, fix)
        return ev.Failed(self._world.now(), failed)

    async def _steps(self) -> bool:
        """Step by step to the answer, from wherever the log stands; False when the task has to wait
        first.

        Finished calls stay finished. One without a result is made again, under the same id.
        """
        limit = self.spec.limits.steps
        while not self.task.is_closed:
            if not await self._settle() or await self._hear():
                return False
            if self.spec.call is not None:
                await single.go_on(self._kit, self.spec.call)
                continue
            if self.task.is_speaking:
                await self._speaking.go_on()
                continue
            number = len(self.task.steps) + 1
            is_last = await self._has_to_answer(number, limit)
            await self._speaking.step(number, is_last=is_last)
        return True

    async def _settle(self) -> bool:
        """Have all calls made; False when the task waits for somebody."""
        while not await self._hear():
            if await self._kit.settling.settle():
                return True
            if self._kit.inbox.is_empty:
                wants = min(call.wants for call in self.task.unreturned)
                now = self._world.now()
                until = now + self._world.max_wait
                if self.task.waiting_children:
                    until += GRACE
                await self._journal.append(ev.Waited(now, wants, until))
                return False
        return False

    async def _hear(self) -> bool:
        """Deal with what the task was told; whether it is to pause."""
        if not (taken := self._kit.inbox.take()):
            return False
        numbers = [number for number, _ in taken]
        await self._heed([word for _, word in taken], answered=numbers)
        return self.task.state is State.WAITING

    async def _heed(self, words: Sequence[Word], *, answered: Sequence[int] = ()) -> None:
        """Have the task told this."""
        was_waiting = self.task.state is State.WAITING
        moment = Moment(self._world.now(), self._world.max_wait, self._speaking.took())
        await self._journal.append(*heard(self.task, words, moment), answered=answered)
        if self.task.state is State.WAITING:
            self._speaking.forget()
        if was_waiting and self.task.state is not State.WAITING:
            self._tell_parent()

    def _tell_parent(self) -> None:
        """It waits no more: who called it need not, either."""
        if self.spec.parent_task_id:
            self._world.spawn(self._world.children.tell_parent(self.spec))

    async def _has_to_answer(self, number: int, limit: int) -> bool:
        """Whether the agent gets no tools any more; the log says why."""
        if not self._kit.equipment.tools:
            return number >= limit
        if number >= limit > 1:
            why = f"limits.steps of {limit} is reached: the agent has to answer"
            await self._kit.warn("STEP_LIMIT_REACHED", why)
        elif repeats_a_failure(self.task.steps):
            why = "the agent made a call again that had failed: it has to answer"
            await self._kit.warn("FAILED_CALL_REPEATED", why)
            return True
        return number >= limit

    def _named(self) -> dict[str, str]:
        return {"task_id": self.spec.task_id}
