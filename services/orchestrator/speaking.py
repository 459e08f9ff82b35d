"""The model's turns in a task: asked for, heard out, and written down as they come."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import Final

from services.chassis.errors import ServiceError, Unavailable
from services.orchestrator import resuming
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.step import Malformed, Outcome, Plan
from services.orchestrator.domain.task import Task
from services.orchestrator.falling import Falling
from services.orchestrator.inbox import Interrupted
from services.orchestrator.kit import Kit
from services.orchestrator.planning import refused
from services.orchestrator.ports import Generation
from services.orchestrator.retries import ATTEMPTS, backoff, is_passing
from services.orchestrator.turn import Conversing, Cut

log = logging.getLogger(__name__)

MALFORMED_ATTEMPTS: Final = 2  # At a step whose output is cut or not what was asked for.
MOST_ATTEMPTS: Final = 8  # At a step, lost workers included: a task may be what ends them.
COUNT_SECONDS: Final = 1.0  # For what a turn took that was broken off.
WORKER_LOST: Final = ev.Failure(
    "UNAVAILABLE", "WORKER_LOST", "the worker was lost in the middle of this step"
)
PAUSED: Final = ev.Failure("ABORTED", "PAUSED", "the task was paused in the middle of this step")


class Speaking:
    """Lets the model speak, one attempt at a step after the other."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._journal = kit.journal
        self._now = kit.world.now
        self._models = kit.world.models
        self._falling = Falling(kit)
        self._speaker: Conversing | None = None

    async def step(self, number: int, *, is_last: bool) -> None:
        """One step, in as many attempts as it may have. Returns early when it is interrupted.

        Raises:
            ServiceError: the last attempt failed.
        """
        malformed = failed = 0
        at = self._kit.task.at
        first = at[1] + 1 if at[0] == number else 1
        for attempt in itertools.count(first):
            await self._falling.hasten()
            plan = await self._planned(is_last=is_last)
            speaker = self._speaker = self._conversing(plan, number, attempt)
            try:
                outcome = await self._listened(speaker, plan, anew=malformed > 0)
                self._kit.planner.check(outcome, plan)
                speaker.keep()
                await self._said(outcome, speaker)
            except Interrupted:
                await self._break_off(speaker, plan)
                return
            except (Cut, Malformed) as fault:
                malformed += 1
                error: ServiceError = refused(fault, plan)
                may_retry = malformed < MALFORMED_ATTEMPTS
            except ServiceError as fault:
                failed += 1
                error = fault.with_traceback(None)  # Its frames hold what is long over.
                may_retry = malformed + failed < ATTEMPTS and is_passing(fault)
            else:
                return
            if not await self._gave_up(speaker, error, may_retry=may_retry):
                await backoff(attempt - first + 1, error)
            elif self._kit.task.is_speaking:
                return  # The next model goes on from here.
            else:
                malformed, failed, first = 0, 0, attempt + 1

    async def go_on(self) -> None:
        """Say the rest of what the model was saying when its turn was cut; else that attempt is
        abandoned.

        Raises:
            Unavailable: `WORKER_LOST`; it was cut too often.
        """
        task, claim = self._kit.task, self._journal.claim
        epoch = claim.epoch if claim else 0
        if not resuming.can_go_on(task, self._kit.equipment.model, epoch):
            await self._abandon(task.at, PAUSED if task.was_paused else WORKER_LOST, self.took())
            _check_attempts(task)
            return
        log.info("text continued", extra={"task_id": task.spec.task_id})
        plan = None
        try:
            plan = await resuming.plan(
                self._models,
                self._kit.world.budget,
                task,
                self._kit.equipment,
                await self._falling.beside(),
            )
            await self._say_rest(plan, task.at)
        except Interrupted:
            if plan is not None and self._speaker is not None:
                await self._break_off(self._speaker, plan)
        except ServiceError as error:
            rest = await self.rest()  # It does not count, unless the next model goes on from it.
            if await self._falling.to_next(error, rest, task.at, self.took()):
                return
            await self._abandon(task.at, failure(error), self.took())
            _check_attempts(task)
            await backoff(1, error)

    async def rest(self) -> Sequence[ev.Event]:
        """What the model said and nobody was told yet; it is then the caller's to write."""
        if (speaker := self._speaker) is None:
            return ()
        now, rest = self._now(), await speaker.unsaid()
        thought = speaker.unthought()
        return [
            *([ev.ThoughtAdded(now, *speaker.at, thought)] if thought else []),
            *([ev.TextAdded(now, *speaker.at, rest)] if rest else []),
        ]

    def took(self) -> ev.Turn:
        """What the attempt that is under way took so far."""
        speaker = self._speaker
        if speaker is None or speaker.at != self._kit.task.at:
            return ev.Turn()
        return self._took(speaker)

    async def took_in_all(self) -> ev.Turn | None:
        """What the turn took that ends with its task; None if none is under way."""
        speaker, task = self._speaker, self._kit.task
        if speaker is None or (asked := speaker.asked) is None:
            return None
        if speaker.at == task.at and not task.is_speaking:
            return None  # The log has it.
        if speaker.turn == ev.Turn():
            await self._count(speaker, asked)
        return self._took(speaker) if speaker.turn.tokens else None

    def forget(self) -> None:
        """The log has what the attempt took that is under way."""
        self._speaker = None

    def close(self) -> None:
        """Pass nothing on any more."""
        if self._speaker is not None:
            self._speaker.close()

    async def _planned(self, *, is_last: bool) -> Plan:
        """How the next turn is to answer. Where its model cannot count the prompt now, the
        next model has the turn, or it is asked again.

        Raises:
            ServiceError: it cannot be planned, or not now.
        """
        failed = 0
        while True:
            beside = await self._falling.beside()
            try:
                return await self._kit.planner.plan(self._kit.task, is_last=is_last, beside=beside)
            except ServiceError as error:
                failed += 1
                if await self._falling.instead(error):
                    failed = 0
                elif failed >= ATTEMPTS or not is_passing(error):
                    raise
                else:
                    await backoff(failed, error)

    async def _say_rest(self, plan: Plan, at: tuple[int, int]) -> None:
        task = self._kit.task
        speaker = self._speaker = self._conversing(plan, *at)
        if (spoke_at := task.spoke_at) is not None:
            after = (spoke_at - task.create_time).total_seconds()
            speaker.first_token_at = self._kit.accepted_at + after
        try:
            outcome = await self._listened(speaker, plan)
        except (Cut, Malformed) as fault:
            raise refused(fault, plan) from None
        if speaker.turn == ev.Turn():
            generation = self._kit.planner.generation(task, plan)
            speaker.turn = await resuming.counted(self._models, generation, plan, outcome.answer)
        await self._said(outcome, speaker)

    async def _gave_up(self, speaker: Conversing, error: ServiceError, *, may_retry: bool) -> bool:
        """After an attempt that failed: whether another model goes on.

        Raises:
            ServiceError: none does, and it is not tried again.
        """
        rest, took = await self.rest(), self._took(speaker)
        is_its_last = is_passing(error) or not may_retry
        if is_its_last and await self._falling.to_next(error, rest, speaker.at, took):
            return True
        await self._abandon(speaker.at, failure(error), took)  # The rest does not count.
        if not may_retry:
            raise error
        return False

    async def _listened(self, speaker: Conversing, plan: Plan, *, anew: bool = False) -> Outcome:
        """What the model says, `anew` where what it said was no good. Raises `Interrupted` when the
        task is told something."""
        generation = self._kit.planner.generation(self._kit.task, plan)
        if anew and generation.cache is not None:
            generation = replace(generation, cache=generation.cache.anew())
        hearing = await self._falling.hearing(self._models)
        try:
            async with self._kit.inbox.interruptible():
                outcome = await speaker.listen(hearing, generation, timeout=self._kit.left())
        except (Cut, Interrupted, Malformed, ServiceError):
            await self._falling.charge(hearing, speaker)
            raise
        await self._falling.charge(hearing, speaker)
        self._falling.note(speaker)
        return outcome

    async def _break_off(self, speaker: Conversing, plan: Plan) -> None:
        """What was said stays said, and what it took is counted."""
        await self._journal.append(*await self.rest())
        if self._kit.task.is_speaking and not speaker.turn.is_cached:
            await self._count(speaker, self._kit.planner.generation(self._kit.task, plan))

    async def _count(self, speaker: Conversing, asked: Generation) -> None:
        """What a turn took that nobody says: in a moment or not at all."""
        model, heard = self._kit.model, speaker.heard
        with suppress(TimeoutError):
            async with asyncio.timeout(COUNT_SECONDS):
                speaker.turn = await resuming.counted_so_far(self._models, asked, model, heard)

    async def _abandon(self, at: tuple[int, int], why: ev.Failure, turn: ev.Turn) -> None:
        await self._journal.append(ev.StepAbandoned(self._now(), *at, why, turn))

    async def _said(self, outcome: Outcome, speaker: Conversing) -> None:
        rest = await self.rest()
        now, turn = self._now(), self._took(speaker)
        if outcome.calls:
            calls = self._kit.settling.asked(outcome.calls, speaker.at, turn)
            await self._journal.append(*rest, *calls)
            return
        answered = ev.Answered(now, *speaker.at, outcome.answer, outcome.output, turn)
        await self._journal.append(*rest, answered, ev.Completed(now))  # One commit for all of it.

    def _conversing(self, plan: Plan, number: int, attempt: int) -> Conversing:
        journal, now = self._journal, self._now

        async def deliver(text: str) -> None:
            await journal.append(ev.TextAdded(now(), number, attempt, text))

        async def think(thought: str) -> None:
            await journal.append(ev.ThoughtAdded(now(), number, attempt, thought))

        return Conversing((number, attempt), plan, self._kit.world.spawn, deliver, think)

    def _took(self, speaker: Conversing) -> ev.Turn:
        turn, beside, first = speaker.turn, speaker.beside, None
        if self._kit.task.time_to_first_token_ms is None and speaker.first_token_at is not None:
            first = round((speaker.first_token_at - self._kit.accepted_at) * 1000, 3)
        cost = 0.0 if turn.is_cached else self._kit.model.cost_usd(*_tokens(turn))
        return replace(
            turn,
            prompt_tokens=turn.prompt_tokens + beside.prompt_tokens,
            duration_ms=round((perf_counter() - speaker.began_at) * 1000, 3),
            time_to_first_token_ms=first,
            cost_usd=cost + beside.cost_usd,
        )


def _tokens(turn: ev.Turn) -> tuple[int, int]:
    return turn.prompt_tokens, turn.completion_tokens


def _check_attempts(task: Task) -> None:
    """Raises Unavailable `WORKER_LOST` after as many attempts at a step as there may be."""
    if task.at[1] >= MOST_ATTEMPTS and not task.was_paused:
        raise Unavailable(WORKER_LOST.reason, WORKER_LOST.message)
