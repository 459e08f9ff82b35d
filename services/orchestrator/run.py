"""One task being run: the agent loop. All that happens becomes an event of the task's log."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from services.chassis.errors import ServiceError, Unavailable
from services.chassis.eventlog.port import Claim, Letter
from services.orchestrator import resuming
from services.orchestrator.calls import Caller
from services.orchestrator.delegation import Delegate, after_children
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.letters import Cancel, Pause, Say, Word, heard
from services.orchestrator.domain.references import readable
from services.orchestrator.domain.step import Malformed, Outcome, Plan
from services.orchestrator.domain.task import State, Task, repeats_a_failure
from services.orchestrator.equipment import Equipment
from services.orchestrator.inbox import Inbox
from services.orchestrator.journal import Journal
from services.orchestrator.planning import Planner, refused
from services.orchestrator.ports import (
    LogLost,
)
from services.orchestrator.reading import Reading, equipped
from services.orchestrator.retries import ATTEMPTS, backoff, is_passing
from services.orchestrator.settling import Settling
from services.orchestrator.turn import Conversing, Cut
from services.orchestrator.world import World

log = logging.getLogger(__name__)

MALFORMED_ATTEMPTS: Final = 2  # At a step whose output is cut or not what was asked for.
MOST_ATTEMPTS: Final = 8  # At a step, lost workers included: a task may be what ends them.
LINGER: Final = timedelta(seconds=2)  # How long a task that waits is kept at hand.
INTERNAL: Final = ev.Failure("INTERNAL", "INTERNAL", "internal error")
WORKER_LOST: Final = ev.Failure(
    "UNAVAILABLE", "WORKER_LOST", "the worker was lost in the middle of this step"
)
STEERED: Final = ev.Failure("ABORTED", "STEERED", "the user said something more meanwhile")


class Interrupted(Exception):
    """The model's turn was ended because somebody has something to say."""


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
        self._world = world
        self._journal = Journal(world.log, world.spawn, task, claim)
        self._inbox = Inbox(self._interrupt)
        self._equipment = equipment
        self._scope: asyncio.Timeout | None = None
        self._turn: asyncio.Timeout | None = None
        self._canceled: str | None = None
        self._is_given_up = False
        self._speaker: Conversing | None = None
        since = (world.now() - task.create_time).total_seconds()
        self._accepted_at = perf_counter() - since
        self.deadline = self._reckoned()
        """When it ends at the latest, in the loop's time, unless it waits for something first."""

    @property
    def task(self) -> Task:
        """The task as it stands."""
        return self._journal.task

    @property
    def claim(self) -> Claim | None:
        """Under which it writes; None before its log has begun, and once it is given back."""
        return self._journal.claim

    @property
    def has_to_wait(self) -> bool:
        """Whether another task of its session comes first."""
        return self.task.state is State.PENDING and bool(self.spec.place.follows)

    async def passed(self) -> None:
        """Wait for that task to end."""
        await self._world.turns.passed(self.spec)

    def begin(self, claim: Claim) -> None:
        """Its log has begun, and is this run's to go on with."""
        self._journal.begin(claim)

    def cancel(self, reason: str) -> None:
        """Stop what it does and end the task; `done` is set when that has happened."""
        if self._canceled is None:
            self._canceled = reason
            _expire(self._scope)

    @property
    def is_canceled(self) -> bool:
        """Whether somebody wants its end."""
        return self._canceled is not None

    def give_up(self) -> None:
        """Stop without an end: the claim is lost, and another worker goes on."""
        self._is_given_up = True
        _expire(self._scope)

    def tell(self, letter: Letter) -> None:
        """Something for the task. It is dealt with once, however often it is told."""
        word = self._inbox.put(letter)
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
            if self._speaker is not None:
                self._speaker.close()
                self._speaker = None  # It holds this run; the collector would come late.
            self._inbox.close()
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
                self.deadline = self._reckoned()
                async with asyncio.timeout_at(self.deadline) as self._scope:
                    if self.task.state is State.WAITING:
                        await self._wait()
                    else:
                        is_over = await self._work()
        finally:
            self._scope = None

    async def _wait(self) -> None:
        """Until there is something for the task; not for long in this process."""
        try:
            async with asyncio.timeout(LINGER.total_seconds()):
                while self.task.state is State.WAITING:
                    await self._inbox.wait()
                    await self._hear()
        except TimeoutError:
            if self.task.state is not State.WAITING:
                return
            await self._journal.park(timedelta(seconds=self._left()))
            raise Parked from None

    async def _work(self) -> bool:
        """All steps; whether the task is over, and not waiting."""
        if self.task.is_answered:
            return True
        if self._equipment is None:
            self._equipment = await self._world.briefings.again(self.spec)
        if self.task.state is State.PENDING:
            await self._claim()
        await self._remember()
        return await self._steps()

    async def _claim(self) -> None:
        """Begin to run after waiting, with what was said in the session by now."""
        chosen = await self._world.memory.choose(self.spec, self.equipment)
        window = chosen.window if chosen else None
        await self._journal.append(ev.Claimed(self._world.now(), window))
        if chosen and self._equipment is not None:
            self._equipment = replace(self._equipment, history=chosen.messages)

    async def _remember(self) -> None:
        """Look up what it is shown of its session, and say what is missing."""
        if (window := self.task.window) is None or self._equipment is None:
            return
        if not self._equipment.history:
            history = await self._world.memory.recall(self.spec, window)
            self._equipment = replace(self._equipment, history=history)
        if window.is_cut:
            why = "the oldest turns of the session do not fit, and no summary of them is there yet"
            await self._warn("HISTORY_CUT", why)

    def _reflect(self) -> None:
        """Have what the next task will not be shown written down, in the background."""
        window, equipment = self.task.window, self._equipment
        if window is not None and window.summarize_through and equipment is not None:
            through = window.summarize_through
            writing = self._world.memory.summarize(self.spec, equipment.model, through)
            self._world.spawn(writing)

    async def _end(self, outcome: ev.Event | None) -> None:
        """What was said and not passed on is kept: the log has all that was produced."""
        if outcome is None:
            return
        outcome = await after_children(self.task, outcome, self._world.children, self._world.now)
        if isinstance(outcome, ev.Failed):
            log.info("task failed", extra=self._named() | {"error_code": outcome.failure.reason})
        await self._journal.append(*await self._rest(), outcome)

    async def _rest(self) -> Sequence[ev.Event]:
        """What the model said and nobody was told yet."""
        if (speaker := self._speaker) is None:
            return ()
        now, rest = self._world.now(), await speaker.unsaid()
        thought = speaker.unthought()
        return [
            *([ev.ThoughtAdded(now, *speaker.at, thought)] if thought else []),
            *([ev.TextAdded(now, *speaker.at, rest)] if rest else []),
        ]

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
            if self.task.is_speaking:
                await self._take_over()
                continue
            number = len(self.task.steps) + 1
            await self._step(number, is_last=await self._has_to_answer(number, limit))
        return True

    async def _take_over(self) -> None:
        """Say the rest of what the model was saying; else that attempt is abandoned."""
        epoch = self.claim.epoch if self.claim else 0
        if not resuming.can_go_on(self.task, self.equipment.model, epoch):
            await self._abandon(WORKER_LOST, ev.Turn())
            return
        log.info("text continued", extra=self._named())
        try:
            await self._go_on(self.task.at)
        except Interrupted:
            await self._journal.append(*await self._rest())
        except ServiceError as error:
            await self._rest()  # It does not count.
            await self._abandon(failure(error), self._took(self._speaker))
            await backoff(1, error)

    async def _go_on(self, at: tuple[int, int]) -> None:
        """Say the rest of the answer. Raises `ServiceError`: it could not be said."""
        models = self._world.models
        plan = await resuming.plan(models, self.task, self.equipment)
        speaker = self._speaker = self._conversing(plan, *at)
        if (spoke_at := self.task.spoke_at) is not None:
            after = (spoke_at - self.task.create_time).total_seconds()
            speaker.first_token_at = self._accepted_at + after
        try:
            outcome = await self._listened(speaker, plan)
        except (Cut, Malformed) as fault:
            raise refused(fault, plan) from None
        if not speaker.turn.tokens:
            generation = self._planner.generation(self.task, plan)
            speaker.turn = await resuming.counted(models, generation, plan, outcome.answer)
        await self._said(outcome, speaker)

    async def _abandon(self, why: ev.Failure, turn: ev.Turn) -> None:
        """Write that the attempt which a worker was lost in does not count."""
        at = self.task.at
        await self._journal.append(ev.StepAbandoned(self._world.now(), *at, why, turn))
        if at[1] >= MOST_ATTEMPTS:
            raise Unavailable(WORKER_LOST.reason, WORKER_LOST.message)

    async def _settle(self) -> bool:
        """Have all calls made; False when the task waits for somebody."""
        while not await self._hear():
            if await self._settling.settle():
                return True
            if self._inbox.is_empty:
                wants = min(call.wants for call in self.task.unreturned)
                await self._journal.append(ev.Waited(self._world.now(), wants))
                return False
        return False

    async def _hear(self) -> bool:
        """Deal with what the task was told; whether it is to pause."""
        if not (taken := self._inbox.take()):
            return False
        now, words = self._world.now(), [word for _, word in taken]
        is_paused = self.task.state is State.RUNNING and words[-1] == Pause()
        events = [
            *self._broken_off(words, now),
            *heard(self.task, words, now),
            *([ev.Waited(now, "continue")] if is_paused else []),
        ]
        await self._journal.append(*events, answered=[number for number, _ in taken])
        return is_paused

    def _broken_off(self, words: Sequence[Word], now: datetime) -> Sequence[ev.Event]:
        """A turn that was interrupted counts no more if there is something new to consider."""
        if not self.task.is_speaking or not any(isinstance(word, Say) for word in words):
            return ()
        return [ev.StepAbandoned(now, *self.task.at, STEERED, self._took(self._speaker))]

    async def _has_to_answer(self, number: int, limit: int) -> bool:
        """Whether the agent gets no tools any more; the log says why."""
        if not self.equipment.tools:
            return number >= limit
        if number >= limit > 1:
            why = f"limits.steps of {limit} is reached: the agent has to answer"
            await self._warn("STEP_LIMIT_REACHED", why)
        elif repeats_a_failure(self.task.steps):
            why = "the agent made a call again that had failed: it has to answer"
            await self._warn("FAILED_CALL_REPEATED", why)
            return True
        return number >= limit

    async def _warn(self, code: str, why: str) -> None:
        if all(warning.code != code for warning in self.task.warnings):
            await self._journal.append(ev.Warned(self._world.now(), code, why))

    async def _step(self, number: int, *, is_last: bool) -> None:
        """One step, in as many attempts as it may have. Returns early when it is interrupted."""
        malformed = failed = 0
        first = self.task.at[1] + 1 if self.task.at[0] == number else 1
        for attempt in itertools.count(first):
            plan = await self._planner.plan(self.task, is_last=is_last)
            speaker = self._speaker = self._conversing(plan, number, attempt)
            try:
                outcome = await self._listened(speaker, plan)
                self._planner.check(outcome, plan)
                await self._said(outcome, speaker)
            except Interrupted:
                await self._journal.append(*await self._rest())
                return
            except (Cut, Malformed) as fault:
                malformed += 1
                error: ServiceError = refused(fault, plan)
                may_retry = malformed < MALFORMED_ATTEMPTS
            except ServiceError as fault:
                failed += 1
                error = fault.with_traceback(None)  # As in `_outcome`.
                may_retry = malformed + failed < ATTEMPTS and is_passing(fault)
            else:
                return
            await self._rest()  # It does not count.
            turn = self._took(speaker)
            await self._journal.append(
                ev.StepAbandoned(self._world.now(), number, attempt, failure(error), turn)
            )
            if not may_retry:
                raise error
            await backoff(attempt - first + 1, error)

    async def _listened(self, speaker: Conversing, plan: Plan) -> Outcome:
        """What the model says. Raises `Interrupted` when the task is told something."""
        generation = self._planner.generation(self.task, plan)
        try:
            async with asyncio.timeout(None) as self._turn:
                if not self._inbox.is_empty:
                    raise Interrupted
                return await speaker.listen(self._world.models, generation, timeout=self._left())
        except TimeoutError:
            if self._turn is not None and self._turn.expired():
                raise Interrupted from None
            raise
        finally:
            self._turn = None

    def _interrupt(self) -> None:
        _expire(self._turn)

    async def _said(self, outcome: Outcome, speaker: Conversing) -> None:
        rest = await self._rest()
        now, turn = self._world.now(), self._took(speaker)
        if outcome.calls:
            calls = self._settling.asked(outcome.calls, speaker.at, turn)
            await self._journal.append(*rest, *calls)
            return
        answered = ev.Answered(now, *speaker.at, outcome.answer, outcome.output, turn)
        await self._journal.append(*rest, answered, ev.Completed(now))  # One commit for all of it.

    def _conversing(self, plan: Plan, number: int, attempt: int) -> Conversing:
        async def deliver(text: str) -> None:
            await self._journal.append(ev.TextAdded(self._world.now(), number, attempt, text))

        async def think(thought: str) -> None:
            await self._journal.append(ev.ThoughtAdded(self._world.now(), number, attempt, thought))

        return Conversing((number, attempt), plan, self._world.spawn, deliver, think)

    def _took(self, speaker: Conversing | None) -> ev.Turn:
        if speaker is None:
            return ev.Turn()
        duration = round((perf_counter() - speaker.began_at) * 1000, 3)
        if self.task.time_to_first_token_ms is not None or speaker.first_token_at is None:
            return replace(speaker.turn, duration_ms=duration)
        first = round((speaker.first_token_at - self._accepted_at) * 1000, 3)
        return replace(speaker.turn, duration_ms=duration, time_to_first_token_ms=first)

    def _left(self) -> float:
        """Seconds until the task's deadline."""
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    @property
    def equipment(self) -> Equipment:
        """What it runs with. Raises `LookupError` before it is known."""
        if self._equipment is None:
            raise LookupError(self.spec.task_id)
        return equipped(self._equipment, self.spec, readable(self.task))

    @property
    def _planner(self) -> Planner:
        return Planner(self._world.models, self._world.schemas, self.equipment)

    @property
    def _settling(self) -> Settling:
        tools = self.equipment.tools
        world, journal = self._world, self._journal
        caller = Caller(Reading(world.tools, world.log, self.task), tools, self._left)
        delegate = Delegate(world.children, journal, world.now, tools)
        return Settling(journal, caller, delegate, world.schemas, tools, world.now)

    def _reckoned(self) -> float:
        task = self.task
        since = task.waits_since
        until = task.deadline if since is None else since + self._world.max_wait
        left = (until - self._world.now()).total_seconds()
        return asyncio.get_running_loop().time() + left

    def _named(self) -> dict[str, str]:
        return {"task_id": self.spec.task_id}


def _expire(scope: asyncio.Timeout | None) -> None:
    """End a scope now, if it is open."""
    if scope is not None and not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())
