"""What becomes of a request's large texts: what is told, refused and kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import InvalidArgument, ServiceError, Unavailable
from services.chassis.objectstore.memory import MemoryObjectStore
from services.chassis.objectstore.port import Reference
from services.chassis.sealing import Seal
from services.orchestrator.adapters.values import Values
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.agent import Agent
from services.orchestrator.domain.request import Texts
from services.orchestrator.marks import Marks
from services.orchestrator.run import Run
from services.orchestrator.usecases.tasks import Bounds, Tasks
from tests.unit.orchestrator.fakes import (
    NOW,
    REQUEST,
    Bench,
    FakeModels,
    bench,
    caller,
    end_of,
)

BIG: Final = "é" * 50_000
ANSWER: Final = '{"thought": "t", "answer": "Done"}'
MUTE: Final = Agent("mute", 1, "local", NOW, NOW, ev.Sampling(), {}, tool_choice="none")


class CountedObjectStore(MemoryObjectStore):
    """One that knows how often something was put, and can be away."""

    puts = 0
    is_away = False

    async def put(self, tenant: str, body: bytes) -> Reference:
        """See `ObjectStore`."""
        if self.is_away:
            raise Unavailable("OBJECT_STORE_UNAVAILABLE", "gone")
        self.puts += 1
        return await super().put(tenant, body)


class Desk(Bench):
    """A bench whose requests may have large texts."""

    objects: CountedObjectStore

    @property
    def tasks(self) -> Tasks:
        """See `Bench`."""
        large = Texts(64 * 1024, 1024 * 1024)
        bounds = Bounds(64 * 1024, default_steps=8, duration=timedelta(seconds=20), large=large)
        marks = Marks(Seal(bytes(32)), self.clock)
        return Tasks(self.world, self.worker, self.desk, marks, bounds)

    async def started(self, **changes: Any) -> Run:
        """A task of such a request."""
        asked = replace(REQUEST, query=BIG, source=b"")
        asked = replace(asked, **changes)
        source = pb.InvokeRequest(query=asked.query, session_id=asked.session_id)
        asked = replace(asked, source=source.SerializeToString())
        run = (await self.tasks.start(asked, caller())).run
        assert run is not None
        return run


@asynccontextmanager
async def desk(*turns: tuple[str, ...], **sizes: int) -> AsyncIterator[Desk]:
    async with bench(*turns, **sizes) as it:  # type: ignore[arg-type]
        found = Desk(it.worker, it.models, it.tools, it.log, it.desk)
        found.models.model = replace(FakeModels().model, context_tokens=100_000)
        found.objects = CountedObjectStore()
        it.log._values = Values(found.objects, inline_bytes=64 * 1024)
        yield found


async def test_the_model_is_told_how_to_read_on_and_the_log_is_not() -> None:
    async with desk((ANSWER,)) as it:
        task = await end_of(await it.started())
        again = await it.log.load("default", task.spec.task_id)

    asked = it.models.asked[0].messages[-1].content
    note = 'read_result reads on, with "of": "query" and "offset": 8000]'
    assert asked == f"{BIG[:4000]}\n[100000 bytes in all; {note}"
    assert task.spec.query == again.spec.query == BIG[:4000]


async def test_a_later_turn_of_the_session_is_told_of_no_tool_that_it_has_not_got() -> None:
    async with desk((ANSWER,)) as it:
        task = await end_of(await it.started())
        await end_of(await it.started(query="And?", session_id=task.spec.session_id))

    shown = [message.content for message in it.models.asked[-1].messages]
    assert any(BIG[:1000] in content for content in shown)
    assert not any("read_result" in content for content in shown)


async def test_an_agent_without_tools_is_not_given_what_it_could_not_read() -> None:
    async with desk((ANSWER,)) as it:
        await it.world.agents.create("default", MUTE, None)
        with pytest.raises(InvalidArgument) as caught:
            await it.started(agent_id="mute")

    assert caught.value.violations[0].field == "query"
    assert it.objects.puts == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session_id": "session_none"}, "SESSION_NOT_FOUND"),
        ({}, "CONTEXT_WINDOW_EXCEEDED"),
    ],
)
async def test_a_request_that_is_refused_leaves_nothing_in_the_store(
    changes: dict[str, Any], reason: str
) -> None:
    async with desk((ANSWER,)) as it:
        if reason == "CONTEXT_WINDOW_EXCEEDED":
            it.models.prompt_tokens = 1_000_000
            it.models.model = FakeModels().model
        with pytest.raises(ServiceError) as caught:
            await it.started(**changes)

    assert (caught.value.reason, it.objects.puts) == (reason, 0)


async def test_a_task_that_begins_has_its_texts_in_the_store_once() -> None:
    async with desk((ANSWER,)) as it:
        run = await it.started()
        ((name, large),) = run.spec.large
        body = await it.log.value("default", large, offset=0, length=large.size_bytes)
        await end_of(run)

    assert (name, it.objects.puts) == ("query", 1)
    assert body.decode() == BIG


async def test_a_turn_whose_texts_cannot_be_kept_leaves_its_session_to_others() -> None:
    async with desk((ANSWER,)) as it:
        task = await end_of(await it.started(query="Hi"))
        it.objects.is_away = True
        with pytest.raises(Unavailable):
            await it.started(session_id=task.spec.session_id)
        after = await end_of(await it.started(query="And?", session_id=task.spec.session_id))

    assert after.text == ANSWER
