"""A saga of five steps whose actions fail as a script says, and what holds of each, whatever
happened to the services meanwhile."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runplane.workflow.v1 import events_pb2 as events_pb
from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis.eventlog.port import EventStore, StoredEvent
from services.workflow.adapters import codec, snapshots
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.language import made
from services.workflow.mapping import workflows as mapping
from tests.servers.counting import Counting, Effect

STEPS = 5
TOPIC = "sagas"
ENDS = {"completed", "compensated", "failed"}
FATES = ("refuse", "refuse", "late", "mute", "cut", "away", "away", "slow")
"""Of the fifth of the actions that does not go well."""
UNDO_FATES = ("mute", "cut", "away", "slow", "refuse")

_STEP = """
  s{n}:
    on_enter:
      - tool: count
        input: {{order: "${{data.order}}", step: {n}, fate: "${{data.fates[{i}]}}"}}
        save_as: r{n}
        timeout: 1s
        retry: {{attempts: 4, initial: 50ms}}
        compensation:
          tool: count
          input: {{order: "${{data.order}}", step: {n}, undo: true,
                  fate: "${{data.undo_fates[{i}]}}"}}
          timeout: 1s
          retry: {{attempts: 4, initial: 50ms}}
    on_success: {to}
    {otherwise}
    compensable: true
"""
YAML = "name: saga\ninitial: s1\nevent_source: kafka://events/sagas\nstate_machine:" + "".join(
    _STEP.format(
        n=n,
        i=n - 1,
        to=f"s{n + 1}" if n < STEPS else "done",
        otherwise="on_failure: broken" if n % 2 else "",
    )
    for n in range(1, STEPS + 1)
)
YAML += "  done: {terminal: success}\n  broken: {terminal: failure}\n"


def given(order: str, dice: random.Random) -> dict[str, Any]:
    """The data of one: a fifth of its actions fail in some way, a fifth of what undoes them too."""
    return {
        "order": order,
        "fates": [dice.choice(FATES) if dice.random() < 0.2 else "ok" for _ in range(STEPS)],
        "undo_fates": [
            dice.choice(UNDO_FATES) if dice.random() < 0.2 else "ok" for _ in range(STEPS)
        ],
    }


@dataclass
class History:
    """One instance as the event store has it."""

    record: pb.Workflow
    stored: Sequence[StoredEvent]
    snapshot: bytes | None
    events: list[ev.Event] = field(default_factory=list)

    @property
    def order(self) -> str:
        """What the tool knows it by."""
        return str(self.record.data["order"])


def definition() -> Definition:
    """The saga, as the service has it."""
    found = made(YAML, field="definition").definition
    assert found is not None
    return found


async def histories(store: EventStore) -> list[History]:
    """All of them."""
    found: list[History] = []
    for tenant, record in await store.every(mapping.RECORD, limit=10_000):
        kept = await store.snapshot(tenant, record.id)
        stored = await store.read(tenant, record.id)
        body = kept.body if kept is not None else None
        found.append(History(pb.Workflow.FromString(record.body), stored, body))
    return found


def check_history(history: History, saga: Definition) -> None:
    """Its chain is whole, and what its events add up to is what is stored of it."""
    instance, head = None, ""
    for number, stored in enumerate(history.stored, 1):
        message = events_pb.WorkflowEvent.FromString(stored.body)
        assert (stored.sequence, message.sequence) == (number, number)
        assert message.previous_hash == head, f"the chain of {stored.id} is broken"
        event = codec.decoded(stored)
        instance, head = evolve(saga, instance, event), codec.hash_of(stored.body)
        history.events.append(event)
    assert instance is not None
    assert mapping.packed(Standing(saga, instance, instance.update_time)) == history.record
    if history.snapshot is not None:
        kept = snapshots.read(history.snapshot).instance
        assert replayed(history.events[: kept.sequence], saga) == kept


def replayed(events: Sequence[ev.Event], saga: Definition) -> Instance:
    """What events add up to."""
    instance = None
    for event in events:
        instance = evolve(saga, instance, event)
    assert instance is not None
    return instance


def check_once(history: History) -> None:
    """It has ended, and did nothing twice."""
    assert history.record.status in ENDS, history.record
    entered = Counter(
        event.state for event in history.events if isinstance(event, ev.Started | ev.Moved)
    )
    assert set(entered.values()) == {1}, f"a transition was made twice: {entered}"
    ends = [event for event in history.events if isinstance(event, ev.Ended)]
    assert len(ends) == 1
    undone = sum(isinstance(event, ev.ActionCompensated) for event in history.events)
    is_undone = history.record.status == "compensated"
    assert undone == (len(_undoable(history)) if is_undone else 0)


def _undoable(history: History) -> dict[int, bool]:
    """The steps that were done, or may have been, in their order; whether it is certain."""
    steps: dict[int, bool] = {}
    step = 0
    for event in history.events:
        if isinstance(event, ev.Started | ev.Moved):
            step = int(event.state[1:]) if event.state[1:].isdecimal() else 0
        elif isinstance(event, ev.ActionCompleted):
            steps[step] = True
        elif isinstance(event, ev.ActionFailed) and event.is_uncertain:
            steps[step] = False
    return steps


def check_effects(history: History, counted: Mapping[str, Sequence[Effect]]) -> None:
    """What the tool did for it, each under one key, is what its history says, and nothing twice;
    what was undone was undone in reverse order."""
    effects, steps = counted.get(history.order, ()), _undoable(history)
    done = [each.step for each in effects if not each.is_undo]
    undone = [each.step for each in effects if each.is_undo]
    assert len(set(done)) == len(done), f"{history.order} did something under two keys: {effects}"
    certain = {step for step, is_certain in steps.items() if is_certain}
    assert certain <= set(done), f"{history.order}: {certain - set(done)} are said to be done"
    assert set(done) <= set(steps), f"{history.order}: {set(done) - set(steps)} are not said to be"
    is_undone = history.record.status == "compensated"
    assert undone == (list(reversed(steps)) if is_undone else []), history.order


def by_order(tool: Counting) -> dict[str, list[Effect]]:
    """What was done, in its order, of each order."""
    found: dict[str, list[Effect]] = {}
    for effect in tool.effects.values():
        found.setdefault(effect.order, []).append(effect)
    return found
