"""The circuits of all tools that fail. In memory, each process by itself: it is a guess that a
trial corrects, not a fact to be kept."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from operator import itemgetter
from typing import Final, TypeAlias

from services.chassis.errors import Unavailable
from services.chassis.lately import Lately
from services.tool_registry.domain import circuit as ci
from services.tool_registry.domain.circuit import CLOSED, Circuit, Event, Moment, Policy, State

MAX_KEPT: Final = 1024
"""Circuits that are known; the one that was asked or told something the longest ago is forgotten
first, but of the tenant itself if it has many."""

Key: TypeAlias = tuple[str, str, str]
"""Tenant, name and version. A version never changes, so this is a tenant's target."""

_OF_TRIALS: Final = {
    Event.ANSWERED: Event.TRIAL_ANSWERED,
    Event.FAILED: Event.TRIAL_FAILED,
}


class Circuits:
    """Knows which tools are not worth trying. `now` is in seconds, and never goes back; `chance` is
    random, from 0 to 1."""

    def __init__(
        self, policy: Policy, *, now: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._now = now
        self._chance = chance
        # Not those that are as `CLOSED`.
        self._known: Lately[Key, Circuit] = Lately(MAX_KEPT, owner=itemgetter(0))

    def admit(self, key: Key) -> bool:
        """Let a call through; whether it is a trial. Then `settle` has to be told of its end.

        Raises:
            Unavailable: `TOOL_CIRCUIT_OPEN`, with when to come back.
        """
        if (before := self._known.get(key)) is None or before.state is State.CLOSED:
            return False
        after = self._step(key, before, Event.ASKED)
        if after is not before:
            return True
        raise self._refusal(key, after)

    def settle(self, key: Key, event: Event | None, *, is_trial: bool) -> None:
        """Tell what a call has shown: `ANSWERED` or `FAILED`; None for nothing."""
        before = self._known.get(key) or CLOSED
        if is_trial:
            event = _OF_TRIALS.get(event, Event.TRIAL_LOST) if event else Event.TRIAL_LOST
        if event is not None and (before is not CLOSED or event is Event.FAILED):
            self._step(key, before, event)

    def state(self, tenant: str, name: str, version: str) -> State:
        """The state of a tool's circuit, as callers see it."""
        return ci.seen(self._known.get((tenant, name, version)) or CLOSED, self._now())

    def counts(self) -> dict[str, float]:
        """How many circuits are not closed, by their state."""
        now = self._now()
        found = Counter(ci.seen(each, now) for each in self._known.values())
        return {each.value: found[each] for each in (State.OPEN, State.HALF_OPEN)}

    def trouble(self, tenant: str, name: str, version: str) -> str:
        """Why calls of a tool are refused at the moment; empty if they are not."""
        circuit = self._known.get((tenant, name, version)) or CLOSED
        return _told(circuit) if ci.seen(circuit, self._now()) is State.OPEN else ""

    def _step(self, key: Key, before: Circuit, event: Event) -> Circuit:
        after = ci.step(before, event, Moment(self._policy, self._now(), self._chance()))
        if after is CLOSED:
            self._known.drop(key)
        else:
            self._known.put(key, after)
        return after

    def _refusal(self, key: Key, circuit: Circuit) -> Unavailable:
        _, name, version = key
        is_tried = circuit.state is State.HALF_OPEN
        left = self._policy.pause.total_seconds() if is_tried else circuit.until - self._now()
        error = Unavailable(
            "TOOL_CIRCUIT_OPEN",
            f"{name} is not called at the moment: {_told(circuit)}",
            tool=name,
            version=version,
            failures=str(circuit.failures),
            suggested_fix="come back after the delay, or use another tool",
        )
        error.after(timedelta(seconds=max(left, 0.0)))
        return error


def _told(circuit: Circuit) -> str:
    tried = "; it is being tried again" if circuit.state is State.HALF_OPEN else ""
    return f"its target failed {circuit.failures} times in a row{tried}"
