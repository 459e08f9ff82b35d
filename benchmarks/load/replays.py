"""Workflows' events: written, read again into what they add up to, and verified."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter, process_time
from typing import Final

from benchmarks.load.job import Job, Report
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import StoredEvent, Work
from services.chassis.hotstore.memory import MemoryHotStore
from services.workflow.adapters import codec
from services.workflow.adapters.definitionstore import EventStoreDefinitions
from services.workflow.adapters.histories import EventStoreHistories
from services.workflow.adapters.publications import Publications
from services.workflow.adapters.workflowlog import KIND, EventStoreWorkflows, Outlets
from services.workflow.domain import decide, outcomes
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.language import outcome
from services.workflow.domain.steps import Run, next_step
from services.workflow.ports import Appended
from services.workflow.usecases.verification import Verifications

TENANT: Final = "default"
OUTPUT: Final = {"id": "0123456789", "amount": 12.5, "lines": [{"sku": "a", "count": 2}] * 3}
TEXT: Final = """
name: saga
initial: a
state_machine:
  a: {on_enter: [{tool: t, save_as: a, compensation: {tool: u}}], on_success: b}
  b: {on_enter: [{tool: t, save_as: b, compensation: {tool: u}}], on_success: c}
  c: {on_enter: [{tool: t, save_as: c, compensation: {tool: u}}], on_success: d}
"""


class _Idle:
    """Hands that take nothing."""

    has_room = False

    def take(self, appended: Appended) -> None:
        """Leave it."""


async def run(job: Job) -> Report:
    """`job.count` workflows of three steps on the store at `options.url`."""
    definition = outcome(TEXT).definition
    if definition is None:
        raise RuntimeError("the definition is none")
    async with event_store(str(job.options["url"]), service="bench") as store:
        definitions = EventStoreDefinitions(store, _now, most=9, most_versions=9)
        kept = await definitions.add(TENANT, "bench", definition)
        outlets = Outlets(MemoryHotStore(), Publications(Backlog(1000), "json"))
        work = Work(KIND, "bench", timedelta(seconds=8))
        logs = EventStoreWorkflows(store, outlets, definitions, work=work, now=_now)
        names = [f"wf_{number:08d}" for number in range(job.count)]
        for name in names:
            await _worked(logs, kept, name)
        histories = [await store.read(TENANT, name) for name in names]
        verifications = Verifications(
            EventStoreHistories(store), logs, definitions, _Idle(), now=_now
        )
        found = await _verified(verifications, names)
        loaded = await _loaded(logs, names)
    events = sum(map(len, histories))
    return {
        "count": events,
        "seconds": found["seconds"],
        "errors": {},
        "decode_fold": _rate(events, lambda: _fold(kept, histories)),
        "encode_us": 1e6 / _rate(events, _encoding(kept, histories)),
        "load": events / loaded,
        "verify": events / found["seconds"],
        "verify_cpu_ms": found["cpu"] * 1000 / job.count,
        "events_each": events / job.count,
    }


async def _worked(logs: EventStoreWorkflows, definition: Definition, name: str) -> None:
    """From its start to its end."""
    spec = ev.Spec(name, TENANT, "bench", "saga", 1, name, "ab" * 16)
    started = decide.started(definition, spec, {"order": name}, _now())
    loaded = (await logs.begin(definition, started, takes=False)).loaded
    while True:
        at = Standing(definition, loaded.instance, _now())
        step = next_step(at)
        if not isinstance(step, Run):
            return
        done = outcomes.acted(at, step, outcomes.Succeeded(OUTPUT, 1.0), chance=0.5)
        loaded = (await logs.append(loaded, done)).loaded


async def _verified(verifications: Verifications, names: Sequence[str]) -> dict[str, float]:
    began, spent = perf_counter(), process_time()
    for name in names:
        if (await verifications.verify(TENANT, name)).findings:
            raise RuntimeError(f"{name} is not consistent")
    return {"seconds": perf_counter() - began, "cpu": process_time() - spent}


async def _loaded(logs: EventStoreWorkflows, names: Sequence[str]) -> float:
    began = perf_counter()
    for name in names:
        await logs.load(TENANT, name, is_fresh=True)
    return perf_counter() - began


def _fold(definition: Definition, histories: Sequence[Sequence[StoredEvent]]) -> None:
    for history in histories:
        _added_up(definition, [codec.decoded(event) for event in history])


def _added_up(definition: Definition, events: Sequence[ev.Event]) -> Instance:
    instance: Instance | None = None
    for event in events:
        instance = evolve(definition, instance, event)
    if instance is None:
        raise RuntimeError("a history has events")
    return instance


def _encoding(
    definition: Definition, histories: Sequence[Sequence[StoredEvent]]
) -> Callable[[], None]:
    events = [[codec.decoded(each) for each in history] for history in histories]
    decided = [(_added_up(definition, each), each) for each in events]

    def encode() -> None:
        for each in decided:
            codec.encoded(definition, None, each, "")

    return encode


def _rate(events: int, do: Callable[[], None]) -> float:
    began = perf_counter()
    do()
    return events / (perf_counter() - began)


def _now() -> datetime:
    return datetime.now(UTC)
