"""A workflow driven by hand: commands, outcomes and time, in the order that a test says."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from services.workflow.domain import decide, outcomes
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.language import outcome
from services.workflow.domain.outcomes import Failed, Outcome, Succeeded
from services.workflow.domain.status import status, waits_for
from services.workflow.domain.steps import Ask, Look, Rest, Run, Step, Stop, Undo, next_step

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPEC: Final = ev.Spec("wf_1", "default", "local", "d", 1, "wf_1", "trace")

DEFINITE: Final = Failed(ev.Failure("FAILED_PRECONDITION", "NO_STOCK", "there is none"))
RETRYABLE: Final = Failed(ev.Failure("UNAVAILABLE", "AWAY", "it is away"), is_retryable=True)
LOST: Final = Failed(ev.Failure("DEADLINE_EXCEEDED", "LATE", "it is late"), is_uncertain=True)
LOST_RETRYABLE: Final = Failed(LOST.failure, is_retryable=True, is_uncertain=True)
NO: Final = ev.Failure("FAILED_PRECONDITION", "TRANSITION_REJECTED", "no")

SAGA: Final = """a: {on_enter: [{tool: t1, save_as: one, compensation: {tool: u1}}], on_success: b}
    b: {on_enter: [{tool: t2, compensation: {tool: u2}}, {tool: t3}], on_success: c}
    c: {on_enter: [{tool: t4, compensation: {tool: u4}}], on_success: end, on_failure: bad}
    end: {terminal: success}
    bad: {terminal: failure}"""
ONE: Final = "a: {on_enter: [{tool: t, compensation: {tool: u}}], transitions: [b]}"


def defined(states: str, *, name: str = "d", rest: str = "") -> Definition:
    """A definition of these states, each of which begins a line; it starts in the first."""
    lines = "".join(f"  {line.strip()}\n" for line in states.strip().splitlines())
    first = lines.strip().partition(":")[0]
    found = outcome(f"name: {name}\ninitial: {first}\nstate_machine:\n{lines}{rest}")
    assert found.definition is not None, found.errors
    return found.definition


def replayed(
    definition: Definition, events: Sequence[ev.Event], instance: Instance | None = None
) -> Instance:
    """What a history adds up to, or more of it after an instance."""
    for event in events:
        instance = evolve(definition, instance, event)
    assert instance is not None
    return instance


class Flow:
    """One workflow. Each change is replayed, too."""

    def __init__(self, definition: Definition | str, data: ev.Object | None = None) -> None:
        self.definition = defined(definition) if isinstance(definition, str) else definition
        self.now = NOW
        self.events: list[ev.Event] = []
        self._replayed: Instance | None = None
        self.keys: list[str] = []
        """Of what was run, in order."""
        self._keep(decide.started(self.definition, SPEC, data or {}, self.now))

    @property
    def at(self) -> Standing:
        """As it stands now."""
        return Standing(self.definition, self.instance, self.now)

    @property
    def state(self) -> str:
        """The state that it is in."""
        return self.instance.state

    @property
    def status(self) -> str:
        """The word for it."""
        return status(self.at)

    @property
    def waits_for(self) -> str:
        """What it waits for."""
        return waits_for(self.at)

    @property
    def step(self) -> Step:
        """What is to be done next."""
        return next_step(self.at)

    def kinds(self, after: int = 0) -> list[str]:
        """The names of its events."""
        return [type(event).__name__ for event in self.events[after:]]

    def path(self) -> list[str]:
        """The states that it was in."""
        return [event.state for event in self.events if isinstance(event, ev.Started | ev.Moved)]

    def signal(self, target: str = "", *, event: str = "", **payload: object) -> None:
        """Somebody signals."""
        signal = ev.Signal(target=target, event=event, payload=payload, by="ann")
        self._keep(decide.signalled(self.at, signal))

    def approve(self, target: str = "", **payload: object) -> None:
        """Somebody approves."""
        self._keep(decide.approved(self.at, ev.Signal(target=target, payload=payload, by="ann")))

    def reject(self, target: str = "") -> None:
        """Somebody rejects."""
        self._keep(decide.rejected(self.at, ev.Signal(target=target, by="ann")))

    def cancel(self) -> None:
        """Somebody cancels."""
        self._keep(decide.canceled(self.at, by="ann", reason="enough"))

    def compensate(self) -> None:
        """Somebody wants it undone."""
        self._keep(decide.compensation_asked(self.at, by="ann"))

    def change(self, decided: Callable[[Standing], Decided]) -> None:
        """Anything else."""
        self._keep(decided(self.at))

    def repair(self) -> None:
        """The verifier finds something."""
        event = ev.ProjectionRepaired(self.now, ("status differs",))
        self._keep((evolve(self.definition, self.instance, event), [event]))

    def pass_time(self, seconds: float) -> None:
        """Time passes, and a worker looks."""
        self.now += timedelta(seconds=seconds)
        self._keep(decide.reminded(self.at))

    def do(self, what: Outcome | None = None) -> Step:
        """A worker does the next step, with this outcome: success, where nothing is said. An answer
        of no is a failure."""
        step, what = self.step, what or Succeeded({})
        if isinstance(step, Run | Undo | Ask):
            self.keys.append(step.key)
        if isinstance(step, Run | Look):
            self._keep(outcomes.acted(self.at, step, what, chance=0.0))
        elif isinstance(step, Undo):
            self._keep(outcomes.undone(self.at, step, what, chance=0.0))
        elif isinstance(step, Ask):
            refusal = what.failure if isinstance(what, Failed) else None
            self._keep(outcomes.validated(self.at, step, refusal, 1.0))
        elif isinstance(step, Stop):
            self._keep(outcomes.stopped(self.at, step))
        else:
            assert isinstance(step, Rest), step
            self._rest(step)
        return step

    def finish(self, most: int = 200) -> None:
        """A worker does all that there is to do, and it all succeeds."""
        for _ in range(most):
            step = self.step
            if not isinstance(step, Run | Undo | Ask | Look | Stop) and not (
                isinstance(step, Rest) and step.until is not None
            ):
                return
            self.do()
        raise AssertionError("it never rests")

    def _rest(self, step: Rest) -> None:
        assert step.until is not None, "it rests until somebody says something"
        self.now = max(self.now, step.until)
        self._keep(decide.reminded(self.at))

    def _keep(self, decided: Decided) -> None:
        instance, events = decided
        self.events += events
        self.instance = instance
        self._replayed = replayed(self.definition, events, self._replayed)
        assert self._replayed == instance


def undone(flow: Flow) -> list[str]:
    """The compensations that are run until it ends, in their order."""
    names = []
    while isinstance(step := flow.step, Undo):
        names.append(step.action.target)
        flow.do()
    return names
