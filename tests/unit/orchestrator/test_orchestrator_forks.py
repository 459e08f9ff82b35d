"""Sessions that begin with what was said in others."""

import tracemalloc
from dataclasses import replace
from typing import Final

from services.chassis.eventlog.port import Append, NewEvent
from services.orchestrator.adapters import codec
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.task import replay
from services.orchestrator.domain.wanted import Wanted
from services.orchestrator.usecases.sessions import Sessions
from tests.unit.orchestrator.fakes import NOW, SPEC, TURN, Bench, bench, caller

TEXT_BYTES: Final = 50_000
TURNS: Final = 200


async def long_session(it: Bench) -> ss.Session:
    """A session whose turns have long queries and long answers."""
    created = ss.Created(NOW, SPEC.session_id, SPEC.tenant, SPEC.owner, "reject", {})
    added = [ss.TurnAdded(NOW, number, f"task_{number}") for number in range(1, TURNS + 1)]
    for each in added:
        spec = replace(SPEC, task_id=each.task_id, query="q" * TEXT_BYTES)
        answer = ev.Answered(NOW, 1, 1, "a" * TEXT_BYTES, None, TURN)
        task = replay([ev.Started(NOW, spec), answer, ev.Completed(NOW)])
        event, record = NewEvent("task.started.v1", NOW, b""), codec.record(task)
        await it.log.store.append(Append("default", each.task_id, 0, [event], records=[record]))
    return await it.sessions.append(None, [created, *added])


async def test_a_fork_of_a_long_session_does_not_keep_its_texts() -> None:
    async with bench() as it:
        source = await long_session(it)
        sessions = Sessions(it.world, it.sessions, it.tasks.end)
        tracemalloc.start()
        try:
            fork = await sessions.fork(caller(), source.session_id, 0, Wanted("", {}))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert (fork.turns, fork.forked_from) == (TURNS, source.session_id)
    assert peak_bytes < TURNS * TEXT_BYTES
