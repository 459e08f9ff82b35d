"""Whose spans have what the logs of tasks took."""

from dataclasses import replace
from datetime import timedelta

from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.tracing import names
from services.chassis.tracing.spans import Span, entered
from services.orchestrator.adapters.spans import TracedTaskLog
from services.orchestrator.domain import events as ev
from tests.unit.orchestrator.fakes import NOW, SPEC


def traced() -> TracedTaskLog:
    lease = timedelta(seconds=8)
    return TracedTaskLog(MemoryEventStore(), MemoryHotStore(), owner="worker_1", lease=lease)


async def test_what_a_task_took_to_begin_is_of_the_call_that_began_it(recorded: list[Span]) -> None:
    call = entered("Invoke")
    await traced().begin(ev.Started(NOW, SPEC), None)
    call.end()

    assert [(each.name, each.facts.get(names.APPENDS)) for each in recorded] == [("Invoke", 1)]


async def test_what_a_child_took_to_begin_is_of_its_parent(recorded: list[Span]) -> None:
    log, call = traced(), entered("Invoke")
    task, claim = await log.begin(ev.Started(NOW, SPEC), None)
    call.end()
    child = replace(SPEC, task_id="task_2", parent_task_id=SPEC.task_id)
    with log.spans.running(task, claim):
        await log.begin(ev.Started(NOW, child), None)

    assert [(each.name, each.facts.get(names.APPENDS)) for each in recorded] == [
        ("Invoke", 1),
        ("invoke_agent default", 1),
    ]
