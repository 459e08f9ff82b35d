"""What a worker does out there for one step, and what is decided of what came of it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain import outcomes
from services.workflow.domain.advance import Decided, failure_of
from services.workflow.domain.data import size_bytes
from services.workflow.domain.definition import Action, Guard, Kind, Validator
from services.workflow.domain.expressions import filled
from services.workflow.domain.instance import Standing
from services.workflow.domain.outcomes import (
    LONGEST_PAUSE,
    Failed,
    Outcome,
    Succeeded,
    backoff,
)
from services.workflow.domain.passing import variables
from services.workflow.domain.steps import Ask, Look, Run, Step, Stop, Undo, next_step
from services.workflow.ports import Actions, Children

MOST_DONE: Final = 256
MOST_BYTES_DONE: Final = 4 * 1024 * 1024
"""Of outputs of what a workflow did and can undo: all of it is kept with it."""

Decide = Callable[[Standing], Decided]
"""What is decided of a workflow as it stands when that is asked."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Does steps."""

    actions: Mapping[Kind, Actions]
    children: Children
    chance: Callable[[], float]
    """From 0 to below 1: spreads the attempts of many workflows."""

    async def done(self, at: Standing, step: Step) -> Decide:
        """Do what a step says, once; what is to be decided then. Cancelling this leaves to whoever
        has the workflow next what goes on out there; see `cut_short`."""
        if isinstance(step, Run) and step.action.kind is Kind.WORKFLOW:
            return await self._child(at, step)
        if isinstance(step, Run):
            outcome = await self._run(at, step.action, step.key, variables(at.instance))
            return lambda now: outcomes.acted(now, step, outcome, chance=self.chance())
        if isinstance(step, Undo):
            known = variables(at.instance) | {"output": step.done.output}
            undone = await self._run(at, step.action, step.key, known)
            return lambda now: outcomes.undone(now, step, undone, chance=self.chance())
        if isinstance(step, Look):
            return await self._look(at, step)
        if isinstance(step, Stop):
            return await self._stop(at, step)
        if isinstance(step, Ask):
            return await self._ask(at, step)
        raise KeyError(type(step))

    async def cut_short(self, at: Standing, step: Run | Ask) -> None:
        """A step was cancelled for good: end what goes on for it out there."""
        action = asked(step.guard) if isinstance(step, Ask) else step.action
        await self._end(at, action, step.key)

    async def told(self, at: Standing) -> None:
        """A workflow rests or is over: see to it that the one that waits for it knows. One that has
        just started another may wait for what has ended already."""
        spec, step = at.instance.spec, next_step(at)
        if isinstance(step, Look):
            await self.children.tell(spec.tenant, step.child)
        elif spec.parent_workflow_id and at.instance.is_at_end:
            await self.children.tell(spec.tenant, spec.workflow_id)

    async def _run(
        self, at: Standing, action: Action, key: str, known: Mapping[str, object]
    ) -> Outcome:
        began = perf_counter()
        if (refused := too_much(at, action)) is not None:
            return refused
        try:
            given = filled(action.input, known)
        except ServiceError as error:
            return Failed(failure_of(error))
        if action.kind is Kind.EVENT:  # It is published with the log's own event.
            return Succeeded(given, _since(began))
        do = self.actions[action.kind]
        try:
            outcome = await do.run(action, given, key=key, instance=at.instance)
        except ServiceError as error:  # It was answered what cannot be read.
            outcome = Failed(failure_of(error), is_uncertain=True)
        return replace(outcome, duration_ms=_since(began))

    async def _child(self, at: Standing, step: Run) -> Decide:
        refused, data = too_much(at, step.action), {}
        try:
            data = filled(step.action.input, variables(at.instance))
        except ServiceError as error:
            refused = Failed(failure_of(error))
        if refused is not None:
            return lambda now: outcomes.acted(now, step, refused, chance=0.0)
        started = await self.children.start(step.action, data, key=step.key, parent=at.instance)
        if isinstance(started, str):
            return lambda now: outcomes.child_started(now, step, started)
        return lambda now: outcomes.acted(now, step, started, chance=self.chance())

    async def _look(self, at: Standing, step: Look) -> Decide:
        outcome = await self.children.ended(at.instance.spec.tenant, step.child)
        if outcome is None:
            return lambda now: (now.instance, [])
        return lambda now: outcomes.acted(now, step, outcome, chance=self.chance())

    async def _stop(self, at: Standing, step: Stop) -> Decide:
        """Whatever was under way here has been cancelled by now; a task or a workflow that was
        begun goes on, even one that was begun just before its worker was lost."""
        child, parent = step.child, at.instance
        if step.action.kind is not Kind.WORKFLOW:
            await self._end(at, step.action, step.key)
        elif not child:
            child = await self.children.find(step.action, key=step.key, parent=parent)
        if child:
            reason = f"{parent.spec.workflow_id} wants it no more"
            await self.children.cancel(parent.spec.tenant, child, reason)
        return lambda now: outcomes.stopped(now, step)

    async def _end(self, at: Standing, action: Action, key: str) -> None:
        if (do := self.actions.get(action.kind)) is not None:
            await do.stop(action, key=key, instance=at.instance)

    async def _ask(self, at: Standing, step: Ask) -> Decide:
        began = perf_counter()
        refusal = await self._refusal(at, step)
        took = _since(began)
        return lambda now: outcomes.validated(now, step, refusal, took)

    async def _refusal(self, at: Standing, step: Ask) -> ev.Failure | None:
        """Why the validator says no; None if it says yes. It only looks, so it is asked again when
        it cannot be reached."""
        action, signal = asked(step.guard), step.request.signal
        known = variables(at.instance, payload=signal.payload, target=signal.target)
        for attempt in range(1, action.retry.attempts + 1):
            outcome = await self._run(at, action, step.key, known)
            if isinstance(outcome, Succeeded):
                return verdict(step.guard, outcome.output)
            if not outcome.is_retryable or attempt == action.retry.attempts:
                return outcome.failure
            pause = backoff(action.retry, attempt, self.chance())
            asked_for = min(outcome.retry_after, LONGEST_PAUSE)
            await asyncio.sleep(max(pause, asked_for).total_seconds())
        raise KeyError(action.name)


def too_much(at: Standing, action: Action) -> Failed | None:
    """Why nothing more is done that would have to be undone; None if it is."""
    done = at.instance.done
    if action.compensation is None:
        return None
    if len(done) < MOST_DONE and sum(size_bytes(each.output) for each in done) < MOST_BYTES_DONE:
        return None
    message = f"{len(done)} actions that it did before would have to be undone already"
    fix = "let a loop start a workflow for each turn, and let outputs be small"
    return Failed(ev.Failure("RESOURCE_EXHAUSTED", "TOO_MUCH_TO_UNDO", message, fix))


def asked(guard: Guard) -> Action:
    """How the validator is called. Raises `KeyError` where it is not called."""
    if guard.action is None:
        raise KeyError(guard.validator)
    return guard.action


def verdict(guard: Guard, output: object) -> ev.Failure | None:
    """Why a validator's answer is a no; None if it is a yes."""
    name = asked(guard).target
    if guard.validator is Validator.AGENT and isinstance(output, Mapping):
        output = output.get("output")
    said = output if isinstance(output, Mapping) else {}
    if said.get("valid") is True:
        return None
    if said.get("valid") is not False:
        message = f"{name} did not say whether it is valid"
        fix = 'let it answer {"valid": true} or {"valid": false, "reason": "…"}'
        return ev.Failure("FAILED_PRECONDITION", "VALIDATOR_ANSWER_INVALID", message, fix)
    reason = said.get("reason")
    message = reason[:1000] if isinstance(reason, str) else f"{name} says that it is not valid"
    return ev.Failure("FAILED_PRECONDITION", "TRANSITION_REJECTED", message)


def _since(began: float) -> float:
    return (perf_counter() - began) * 1000
