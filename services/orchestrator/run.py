"""One task being run: the agent loop. All that happens becomes an event of the task's log."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from services.chassis import ids
from services.chassis.errors import FailedPrecondition, ServiceError, Unavailable
from services.chassis.eventlog.port import Claim
from services.orchestrator.calls import Caller
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.prompt import conversation
from services.orchestrator.domain.step import Malformed, Outcome, Plan, ToolRequest
from services.orchestrator.domain.task import State, Task, repeats_a_failure
from services.orchestrator.equipment import Catalogues, Equipment
from services.orchestrator.ports import (
    Generation,
    LogLost,
    Models,
    Returned,
    Schemas,
    TaskLog,
    Tools,
)
from services.orchestrator.retries import ATTEMPTS, backoff, failure, is_passing
from services.orchestrator.turn import MAX_OUTPUT_CHARACTERS, Conversing, Cut

log = logging.getLogger(__name__)

MALFORMED_ATTEMPTS: Final = 2  # At a step whose output is cut or not what was asked for.
MOST_ATTEMPTS: Final = 8  # At a step, lost workers included: a task may be what ends them.
INTERNAL: Final = ev.Failure("INTERNAL", "INTERNAL", "internal error")
WORKER_LOST: Final = ev.Failure(
    "UNAVAILABLE", "WORKER_LOST", "the worker was lost in the middle of this step"
)


@dataclass(frozen=True, slots=True)
class World:
    """What a run acts on."""

    log: TaskLog
    models: Models
    tools: Tools
    schemas: Schemas
    now: Callable[[], datetime]
    spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]

    @property
    def catalogues(self) -> Catalogues:
        """Where equipment comes from."""
        return Catalogues(self.models, self.tools)


class Run:
    """Runs one task to its end, from wherever its log stands. Its owner calls `execute`; anyone
    may `cancel`."""

    def __init__(
        self,
        world: World,
        task: Task,
        claim: Claim | None = None,
        equipment: Equipment | None = None,
    ) -> None:
        """Without a claim it may think already, and writes nothing until `begin`."""
        self.spec = task.spec
        self.task = task
        self.claim = claim
        self._has_begun = asyncio.Event()
        if claim is not None:
            self._has_begun.set()
        self.done = asyncio.Event()
        self.is_lost = False
        """Whether it is done here though the task is not: another worker goes on with it."""
        self._world = world
        self._equipment = equipment
        self._writing = asyncio.Lock()
        self._scope: asyncio.Timeout | None = None
        self._canceled: str | None = None
        self._is_given_up = False
        self._log_fault: str | None = None
        self._speaker: Conversing | None = None
        now = world.now()
        self._accepted_at = perf_counter() - (now - task.create_time).total_seconds()
        left = (self.spec.deadline - now).total_seconds()
        self.deadline = asyncio.get_running_loop().time() + left
        """When it ends at the latest, in the loop's time."""

    @property
    def equipment(self) -> Equipment:
        """What it runs with. Raises `LookupError` before it is known."""
        if self._equipment is None:
            raise LookupError(self.spec.task_id)
        return self._equipment

    def begin(self, claim: Claim) -> None:
        """Its log has begun, and is this run's to go on with."""
        self.claim = claim
        self._has_begun.set()

    def cancel(self, reason: str) -> None:
        """Stop what it does and end the task; `done` is set when that has happened."""
        if self._canceled is None:
            self._canceled = reason
            if self._scope is not None and not self._scope.expired():
                self._scope.reschedule(asyncio.get_running_loop().time())

    def give_up(self) -> None:
        """Stop without an end: the claim is lost, and another worker goes on."""
        self._is_given_up = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def execute(self) -> None:
        """Run to the end. Whatever goes wrong becomes the task's end, not an exception."""
        self.is_lost = True
        try:
            await self._end(await self._outcome())
            self.is_lost = False
        except LogLost as lost:
            log.warning("task given up", extra=self._named() | {"cause": str(lost)})
        except Exception:
            log.exception("task cannot be written", extra=self._named())
        finally:
            if self._speaker is not None:
                self._speaker.close()
                self._speaker = None  # It holds this run; the collector would come late.
            self.done.set()

    async def _outcome(self) -> ev.Event | None:
        """What the task comes to; None if its log says so already."""
        try:
            if self._canceled is not None or self._is_given_up:
                return self._stopped()
            await self._within_deadline()
            return None if self.task.is_closed else ev.Completed(self._world.now())
        except TimeoutError:
            return None if self.task.is_closed else self._stopped()
        except ServiceError as error:
            error.with_traceback(None)  # Its frames hold this run.
            return ev.Failed(self._world.now(), failure(error))
        except LogLost:
            raise
        except Exception:
            log.exception("task failed", extra=self._named())
            return ev.Failed(self._world.now(), INTERNAL)

    async def _within_deadline(self) -> None:
        """All steps. A cancel ends the scope, too."""
        try:
            async with asyncio.timeout_at(self.deadline) as self._scope:
                if self.task.state is State.PENDING:
                    await self._append(ev.Claimed(self._world.now()))
                if not self.task.is_answered:
                    await self._get_ready()
                    await self._steps()
        finally:
            self._scope = None

    async def _end(self, outcome: ev.Event | None) -> None:
        """What was said and not passed on is kept: the log has all that was produced."""
        if outcome is None:
            return
        if isinstance(outcome, ev.Failed):
            log.info("task failed", extra=self._named() | {"error_code": outcome.failure.reason})
        await self._append(*await self._rest(), outcome)

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
        message = "the task's deadline passed before it had an answer"
        fix = "raise timeout_ms, or ask for less"
        timed_out = ev.Failure("DEADLINE_EXCEEDED", "TASK_TIMEOUT", message, fix)
        return ev.Failed(self._world.now(), timed_out)

    async def _steps(self) -> None:
        limit = self.spec.limits.steps
        for number in range(len(self.task.steps) + 1, limit + 1):
            calls = await self._step(number, is_last=await self._has_to_answer(number, limit))
            if not calls:
                return
            await self._call_all(calls)

    async def _get_ready(self) -> None:
        """Equip it, and go back to where the last worker had durably come, if there was one.

        Finished calls stay finished. One without a result is made again, under the same id.
        """
        if self._equipment is None:
            spec = self.spec
            self._equipment = await self._world.catalogues.equip_patiently(
                spec.model, spec.tools, has_tools=spec.has_tools
            )
        if self.task.is_speaking:
            number, attempt = self.task.at
            lost = ev.StepAbandoned(self._world.now(), number, attempt, WORKER_LOST, ev.Turn())
            await self._append(lost)
            if attempt >= MOST_ATTEMPTS:
                raise Unavailable(WORKER_LOST.reason, WORKER_LOST.message)
        at, now = self.task.at, self._world.now()
        await self._call_all(
            [
                ev.ToolCalled(now, *at, call.call_id, call.tool, call.tool_version, call.input)
                for call in self.task.unreturned
            ]
        )

    async def _has_to_answer(self, number: int, limit: int) -> bool:
        """Whether the agent gets no tools any more; the log says why."""
        if not self.equipment.tools:
            return number == limit
        if number == limit > 1:
            why = f"limits.steps of {limit} is reached: the agent has to answer"
            await self._append(ev.Warned(self._world.now(), "STEP_LIMIT_REACHED", why))
        elif repeats_a_failure(self.task.steps):
            why = "the agent made a call again that had failed: it has to answer"
            await self._append(ev.Warned(self._world.now(), "FAILED_CALL_REPEATED", why))
            return True
        return number == limit

    async def _step(self, number: int, *, is_last: bool) -> Sequence[ev.ToolCalled]:
        """One step, in as many attempts as it may have: the calls it asks for, or none."""
        malformed = 0
        first = self.task.at[1] + 1 if self.task.at[0] == number else 1
        for attempt in itertools.count(first):
            plan = await self._plan(is_last=is_last)
            speaker = self._speaker = self._conversing(plan, number, attempt)
            try:
                outcome = await speaker.listen(
                    self._world.models, self._generation(plan), timeout=self._left()
                )
                self._check(outcome, plan)
                return await self._said(outcome, speaker, (number, attempt))
            except (Cut, Malformed) as fault:
                malformed += 1
                error: ServiceError = _refused(fault, plan)
                may_retry = malformed < MALFORMED_ATTEMPTS
            except ServiceError as fault:
                error = fault.with_traceback(None)  # As in `_outcome`.
                may_retry = attempt - first + 1 < ATTEMPTS and is_passing(fault)
            await self._rest()  # It does not count.
            turn = self._took(speaker)
            abandoned = ev.StepAbandoned(self._world.now(), number, attempt, failure(error), turn)
            await self._append(abandoned)
            if not may_retry:
                raise error
            await backoff(attempt - first + 1, error)
        raise AssertionError("count never ends")

    async def _said(
        self, outcome: Outcome, speaker: Conversing, at: tuple[int, int]
    ) -> Sequence[ev.ToolCalled]:
        rest = await self._rest()
        now, turn = self._world.now(), self._took(speaker)
        if not outcome.calls:
            answered = ev.Answered(now, *at, outcome.answer, outcome.output, turn)
            await self._append(*rest, answered, ev.Completed(now))  # One commit for all of it.
            return ()
        last = len(outcome.calls) - 1
        calls = [
            self._called(request, at, turn if index == last else None)
            for index, request in enumerate(outcome.calls)
        ]
        await self._append(*rest, *calls)
        return calls

    def _called(
        self, request: ToolRequest, at: tuple[int, int], turn: ev.Turn | None
    ) -> ev.ToolCalled:
        tool = self.equipment.tools.get(request.tool)
        version = tool.version if tool else ""
        name, call_id = request.tool[:64], ids.new("call")
        return ev.ToolCalled(self._world.now(), *at, call_id, name, version, request.input, turn)

    async def _call_all(self, calls: Sequence[ev.ToolCalled]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for called in calls:
                    group.create_task(self._call(called))
        except ExceptionGroup as failed:  # Results that could not be written: one says it all.
            raise failed.exceptions[0] from None

    async def _call(self, called: ev.ToolCalled) -> None:
        """Call a tool; whatever comes of it is told to the model."""
        began = perf_counter()
        try:
            caller = Caller(self._world.tools, self.equipment.tools, self._left)
            returned = await caller.call(called)
        except ServiceError as error:
            took = (perf_counter() - began) * 1000
            returned = Returned(None, failure(error), took)
        await self._append(
            ev.ToolReturned(
                self._world.now(),
                called.step,
                called.attempt,
                called.call_id,
                called.tool,
                called.tool_version,
                returned.output,
                returned.failure,
                round(returned.latency_ms, 3),
            )
        )

    async def _plan(self, *, is_last: bool) -> Plan:
        """How the next turn is to answer."""
        wanted = self.spec.sampling.max_tokens or self.equipment.model.default_max_tokens
        if self.spec.limits.tokens is not None:
            wanted = min(wanted, await self._affordable(self.spec.limits.tokens))
        tools = () if is_last else tuple(self.equipment.tools.values())
        schema = self.spec.response_schema
        return Plan(tools, bool(self.equipment.tools), schema, wanted)

    async def _affordable(self, allowed: int) -> int:
        """How many tokens the next turn may produce.

        Raises:
            FailedPrecondition: `TOKEN_LIMIT_REACHED`; its prompt takes what is left, or more.
        """
        prompt = await self._world.models.count_tokens(self.spec.model, self._messages())
        used = self.task.tokens
        if used + prompt < allowed:
            return allowed - used - prompt
        raise FailedPrecondition(
            "TOKEN_LIMIT_REACHED",
            f"limits.tokens of {allowed} do not suffice: {used} are used, and the next prompt "
            f"has {prompt}",
            limit=str(allowed),
            used=str(used),
            prompt_tokens=str(prompt),
            field="limits.tokens",
            suggested_fix="raise limits.tokens, or ask for less",
        )

    def _messages(self) -> Sequence[ev.Message]:
        return conversation(self.spec, self.equipment.briefing, self.task.steps)

    def _generation(self, plan: Plan) -> Generation:
        sampling, messages = self.spec.sampling, self._messages()
        # Which tool to take is no matter of chance.
        if self.equipment.tools and sampling.temperature is None:
            sampling = replace(sampling, temperature=0.0)
        return Generation(self.spec.model, messages, sampling, plan.max_tokens, plan.schema())

    def _conversing(self, plan: Plan, number: int, attempt: int) -> Conversing:
        async def deliver(text: str) -> None:
            await self._append(ev.TextAdded(self._world.now(), number, attempt, text))

        async def think(thought: str) -> None:
            await self._append(ev.ThoughtAdded(self._world.now(), number, attempt, thought))

        return Conversing((number, attempt), plan, self._world.spawn, deliver, think)

    def _check(self, outcome: Outcome, plan: Plan) -> None:
        schema = plan.answer_schema
        if schema is None or outcome.calls:
            return
        if violations := self._world.schemas.violations(schema, outcome.output):
            raise Malformed(f"the answer does not match: {violations[0].message}")

    def _took(self, speaker: Conversing) -> ev.Turn:
        duration = round((perf_counter() - speaker.began_at) * 1000, 3)
        if self.task.time_to_first_token_ms is not None or speaker.first_token_at is None:
            return replace(speaker.turn, duration_ms=duration)
        first = round((speaker.first_token_at - self._accepted_at) * 1000, 3)
        return replace(speaker.turn, duration_ms=duration, time_to_first_token_ms=first)

    def _left(self) -> float:
        """Seconds until the task's deadline."""
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    async def _append(self, *events: ev.Event) -> None:
        """Write. A cancel waits until that is done: what is on its way to the disk gets there."""
        await self._has_begun.wait()
        async with self._writing:
            writing = self._world.spawn(self._write(events))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait((writing,))
                raise
            if self._log_fault is not None:
                raise LogLost(self._log_fault)

    async def _write(self, events: Sequence[ev.Event]) -> None:
        if self.claim is None:
            raise LookupError(self.spec.task_id)
        if self._log_fault is not None:
            return  # What came before may be missing: nothing may come after it.
        try:
            self.task = await self._world.log.append(self.task, events, self.claim)
        except ServiceError as error:
            self._log_fault = error.reason
        except Exception:
            log.exception("task cannot be written", extra=self._named())
            self._log_fault = INTERNAL.reason

    def _named(self) -> dict[str, str]:
        return {"task_id": self.spec.task_id}


def _refused(fault: Cut | Malformed, plan: Plan) -> FailedPrecondition:
    if isinstance(fault, Cut):
        return FailedPrecondition(
            "MODEL_OUTPUT_INVALID",
            f"the model's output did not fit in {plan.max_tokens} tokens, or in "
            f"{MAX_OUTPUT_CHARACTERS} characters",
            max_tokens=str(plan.max_tokens),
            field="sampling.max_tokens",
            suggested_fix="raise sampling.max_tokens or limits.tokens, or ask for less",
        )
    return FailedPrecondition("MODEL_OUTPUT_INVALID", f"the model failed: {fault}")


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
