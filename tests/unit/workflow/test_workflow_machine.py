"""Random definitions under random signals, decisions, outcomes, crashes and passing time."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain import outcomes
from services.workflow.domain.advance import GUARDED, MOST, Decided, is_unsettled
from services.workflow.domain.decide import reminded
from services.workflow.domain.definition import Definition, Kind, Validator
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance, Phase, Standing, key_of
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded
from services.workflow.domain.steps import (
    Ask,
    Look,
    Over,
    Rest,
    Run,
    Step,
    Stop,
    Undo,
    is_current,
    next_step,
)
from tests.unit.workflow.definitions import definitions
from tests.unit.workflow.flow import (
    DEFINITE,
    LOST,
    LOST_RETRYABLE,
    RETRYABLE,
    SPEC,
    Flow,
    replayed,
)

OUTCOMES: Final = st.sampled_from(
    [Succeeded({}), Succeeded(2), Succeeded(2**60), DEFINITE, RETRYABLE, LOST, LOST_RETRYABLE]
)
TARGETS: Final = st.sampled_from(["s0", "s1", "s2", "s3", "ok", "bad"])
WORK: Final = (Run, Undo, Ask, Look, Stop)


class Told:
    """What a history tells, followed as it grows."""

    def __init__(self, definition: Definition) -> None:
        self.done: list[str] = []
        """Keys of the actions that were done, or may have been, and are to be undone; in order."""
        self.undone: list[str] = []
        """Keys of those that were undone, in order."""
        self.compensable: set[str] = set()
        """Keys of the actions with a compensation of each state that was entered."""
        self._definition = definition
        self._instance: Instance | None = None
        self._is_over = False

    def follow(self, events: Sequence[ev.Event]) -> None:
        """Take what is new, which has to lead on from what is known."""
        known = self._instance.sequence if self._instance else 0
        for event in events[known:]:
            self._take(event, self._instance)
            self._instance = evolve(self._definition, self._instance, event)

    def _take(self, event: ev.Event, before: Instance | None) -> None:
        is_late = isinstance(event, ev.CompensationStarted | ev.ProjectionRepaired)
        assert is_late or not self._is_over
        if isinstance(event, ev.Started):
            self._enter(event.state, 1)
        if before is None:
            return
        if isinstance(event, ev.Moved):
            assert event.previous == before.state
            assert event.state in self._definition.states[before.state].transitions
            self._enter(event.state, before.sequence + 1)
        elif isinstance(event, ev.Ended | ev.CompensationStarted):
            self._is_over = isinstance(event, ev.Ended)
        elif isinstance(event, ev.ActionCompensated):
            latest = before.done[-1]
            self.undone.append(_key(latest.entry, latest.index))
        elif isinstance(event, ev.ActionCompleted) or (
            isinstance(event, ev.ActionFailed) and event.is_uncertain
        ):
            action = self._definition.states[before.state].actions[event.index]
            if action.compensation is not None:
                self.done.append(_key(before.entry, event.index))

    def _enter(self, state: str, entry: int) -> None:
        for index, action in enumerate(self._definition.states[state].actions):
            if action.compensation is not None:
                self.compensable.add(_key(entry, index))


def _key(entry: int, index: int) -> str:
    return f"{SPEC.workflow_id}/{entry}/{index}"


class Workflows(RuleBasedStateMachine):
    """One workflow, a worker that may crash, and what was really done out there."""

    @initialize(definition=definitions(), n=st.integers(0, 2))
    def start(self, definition: Definition, n: int) -> None:
        """It starts."""
        self.flow = Flow(definition, {"n": n})
        self.step: Step | None = None
        """What the worker is at."""
        self.kept: list[ev.Signal] = []
        self.may_be_done: set[str] = set()
        """Keys of actions that were done, or said that they may have been."""
        self.cut_off: set[str] = set()
        """Keys of actions that said nothing."""
        self.seen = 0
        self.told = Told(definition)
        self._look(is_signal=False)

    @rule(to=TARGETS, n=st.integers(0, 2))
    def signal(self, to: str, n: int) -> None:
        """Somebody names a state."""
        self._tried(lambda: self.flow.signal(to, n=n), is_signal=True)

    @rule(event=st.sampled_from(["go", "d_s1", "d_ok", "nothing"]))
    def tell(self, event: str) -> None:
        """Somebody says what happened."""
        self._tried(lambda: self.flow.signal(event=event), is_signal=True)

    @rule(to=st.none() | TARGETS)
    def approve(self, to: str | None) -> None:
        """Somebody approves."""
        self._tried(lambda: self.flow.approve(to or ""))

    @rule(to=st.none() | TARGETS)
    def reject(self, to: str | None) -> None:
        """Somebody rejects."""
        self._tried(lambda: self.flow.reject(to or ""))

    @rule(is_meant=st.sampled_from([False] * 4 + [True]))
    def cancel(self, *, is_meant: bool = True) -> None:
        """Somebody cancels; seldom, for little comes after it."""
        if is_meant:
            self._tried(self.flow.cancel)

    @rule()
    def compensate(self) -> None:
        """Somebody wants it undone."""
        self._tried(self.flow.compensate)

    @rule()
    def repair(self) -> None:
        """The verifier writes what lists show."""
        self._tried(self.flow.repair)

    @rule(seconds=st.sampled_from([0.001, 0.5, 2, 7200]))
    def wait(self, seconds: float) -> None:
        """Time passes; a worker that rests is reminded."""
        self._tried(lambda: self.flow.pass_time(seconds))

    @precondition(lambda self: self.step is None)
    @rule()
    def begin(self) -> None:
        """The worker begins what is to be done."""
        step = self.flow.step
        if isinstance(step, WORK):
            self.step = step

    @precondition(lambda self: self.step is not None)
    @rule(outcome=OUTCOMES)
    def end(self, outcome: Outcome) -> None:
        """The worker is through with it; meanwhile, anything may have happened."""
        step, self.step = self.step, None
        assert step is not None
        self._end(step, outcome)

    @precondition(lambda self: self.step is None)
    @rule(outcome=OUTCOMES)
    def work(self, outcome: Outcome) -> None:
        """Both at once."""
        self.begin()
        if self.step is not None:
            self.end(outcome)

    @precondition(lambda self: self.step is None)
    @rule()
    def proceed(self) -> None:
        """Both at once, and well."""
        self.work(Succeeded({}))

    @precondition(lambda self: isinstance(self.step, Run | Ask))
    @rule()
    def cut_short(self) -> None:
        """The worker finds that nobody wants it any more."""
        step, at = self.step, self.flow.at
        if isinstance(step, Ask):
            self.step = None
        if isinstance(step, Run) and is_current(at, step) and at.is_to_stop:
            self.step = None
            self._cut_off(step)
            self._tried(lambda: self.flow.change(lambda at: outcomes.stopped(at, step)))

    @precondition(lambda self: self.step is not None)
    @rule()
    def crash(self) -> None:
        """The worker is lost, and what it was at may have been done."""
        if isinstance(self.step, Run):
            self._cut_off(self.step)
        self.step = None
        self.flow.instance = replayed(self.flow.definition, self.flow.events)

    @invariant()
    def it_is_in_order(self) -> None:
        """What can be seen of it makes sense at any time."""
        flow, instance = self.flow, self.flow.instance
        assert list(instance.deferred) == self.kept
        assert instance.sequence == len(flow.events)
        assert (next_step(flow.at) == Over()) == instance.is_closed
        if instance.phase is Phase.ACTIVE:
            assert (flow.waits_for == "") == (flow.status == "running")
        if instance.is_closed:
            assert (flow.status, flow.waits_for) == (instance.phase.value, "")
            assert not instance.deferred

    @invariant()
    def it_went_where_the_definition_leads(self) -> None:
        """No transition that the definition does not have; one end, but for what is asked for."""
        self.told.follow(self.flow.events)

    @invariant()
    def what_was_done_is_undone_once(self) -> None:
        """Each action completes once at most; each is undone once, if all is undone."""
        self.told.follow(self.flow.events)
        done, undone = self.told.done, self.told.undone
        assert max(Counter(done).values(), default=1) == 1
        assert max(Counter(undone).values(), default=1) == 1
        assert set(undone) <= set(done)
        left = [
            key_of(self.flow.instance, each.entry, each.index) for each in self.flow.instance.done
        ]
        assert [key for key in done if key not in undone] == left
        assert undone == [key for key in reversed(done) if key in undone]
        maybe = (self.may_be_done | self.cut_off) & self.told.compensable
        assert maybe - {self._at_hand()} <= set(done)
        if self.flow.instance.phase is Phase.COMPENSATED:
            assert not left

    def teardown(self) -> None:
        """What nobody holds up ends."""
        if not hasattr(self, "flow"):
            return
        self.step = None
        for turn in range(400):
            if turn == 100:  # There are definitions that go round with the time.
                self.cancel()
            step = self.flow.step
            if isinstance(step, Over):
                break
            if isinstance(step, Rest) and step.until is None:
                self._go_on()
            elif isinstance(step, Rest):
                self._tried(self.flow.do)
            else:
                self.begin()
                self.end(Succeeded({}))
        assert self.flow.instance.is_closed
        assert not self.kept
        self.it_is_in_order()
        self.it_went_where_the_definition_leads()
        self.what_was_done_is_undone_once()

    def _go_on(self) -> None:
        """Whoever it waits for does what it waits for."""
        flow = self.flow
        if flow.instance.phase is Phase.COMPENSATION_FAILED:
            assert flow.waits_for == "person"
            self._tried(flow.compensate)
            return
        assert flow.waits_for in {"signal", "approval"}
        assert flow.at.state.transitions
        self._tried(flow.cancel)

    def _end(self, step: Step, outcome: Outcome) -> None:
        is_failure = isinstance(outcome, Failed) and not outcome.is_uncertain
        if isinstance(step, Run | Look) and step.action.kind is not Kind.EVENT:
            self.cut_off.discard(step.key)  # Who honours keys says what came of it.
            if isinstance(step, Look) and is_failure:
                self.may_be_done.discard(step.key)  # A workflow that fails undoes itself.
            if not is_failure:
                self.may_be_done.add(step.key)
        self._tried(lambda: self.flow.change(lambda at: self._decided(at, step, outcome)))

    def _cut_off(self, step: Run) -> None:
        if step.action.kind is not Kind.EVENT:  # It is published by being recorded.
            self.cut_off.add(step.key)

    def _decided(self, now: Standing, step: Step, outcome: Outcome) -> Decided:
        """As `execution` does it."""
        if not is_current(now, step):
            return reminded(now)
        is_child = isinstance(step, Run) and step.action.kind is Kind.WORKFLOW
        if isinstance(step, Run) and is_child and isinstance(outcome, Succeeded):
            return outcomes.child_started(now, step, "wf_2")
        if isinstance(step, Run | Look):
            return outcomes.acted(now, step, outcome, chance=0.5)
        if isinstance(step, Undo):
            return outcomes.undone(now, step, outcome, chance=0.5)
        if isinstance(step, Ask):
            refusal = outcome.failure if isinstance(outcome, Failed) else None
            return outcomes.validated(now, step, refusal, 1.0)
        assert isinstance(step, Stop)
        return outcomes.stopped(now, step)

    def _tried(self, do: Callable[[], object], *, is_signal: bool = False) -> None:
        before = self.flow.instance
        try:
            do()
        except ServiceError:
            assert self.flow.instance == before
        self._look(is_signal=is_signal)

    def _look(self, *, is_signal: bool) -> None:
        """Follow the signals that are kept through the new events."""
        new = self.flow.events[self.seen :]
        self.seen = len(self.flow.events)
        for number, event in enumerate(new):
            if isinstance(event, ev.SignalDeferred):
                assert number == 0
                self.kept.append(event.signal)
            elif isinstance(event, ev.SignalDropped):
                assert self.kept.pop(0) == event.signal
            elif isinstance(event, ev.Moved | ev.ValidationRequested) and event.cause == "signal":
                is_direct = is_signal and number == 0
                if not is_direct:
                    self._check_obeyed(self.kept.pop(0), event)
        if 0 < len(new) < self._most():
            assert not is_unsettled(self.flow.at)

    def _most(self) -> int:
        """After how many events a decision may leave the rest for the next one."""
        guards = [state.guard for state in self.flow.definition.states.values()]
        is_guarded = any(each and each.validator is Validator.CEL for each in guards)
        return GUARDED if is_guarded else MOST

    @staticmethod
    def _check_obeyed(signal: ev.Signal, event: ev.Moved | ev.ValidationRequested) -> None:
        if isinstance(event, ev.Moved):
            assert (event.signal, event.payload) == (signal.name, signal.payload)
        else:
            assert (event.signal.event, event.signal.payload) == (signal.event, signal.payload)

    def _at_hand(self) -> str:
        """The action whose outcome is not recorded yet."""
        instance = self.flow.instance
        is_acting = self.flow.at.is_acting
        return key_of(instance, instance.entry, instance.next_action) if is_acting else ""


TestWorkflows = Workflows.TestCase
TestWorkflows.settings = settings(
    max_examples=int(os.environ.get("RUNPLANE_TEST_EXAMPLES", "40")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
