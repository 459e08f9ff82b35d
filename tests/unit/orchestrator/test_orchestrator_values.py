"""Which values go to the object store, and what becomes of them when it is away."""

import json
import math
from dataclasses import replace

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.type.v1.content_pb2 import Message

from services.chassis.errors import FailedPrecondition, ServiceError, Unavailable
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Claim
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.objectstore.memory import MemoryObjectStore
from services.chassis.objectstore.port import Reference, reference_to
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.adapters.values import Values
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import JSON, TEXT, Large
from services.orchestrator.domain.task import Task
from services.orchestrator.mapping import tasks as mapping
from tests.unit.orchestrator.fakes import LEASE, NOW, OWNER, REQUEST, SPEC, TURN

ROWS = {"rows": ["é" * 100] * 20}
BODY = json.dumps(ROWS, ensure_ascii=False).encode()
CALLED = ev.ToolCalled(NOW, 1, 1, "call_1", "look", "1.0.0", {}, TURN)
TENANT = SPEC.tenant


ALONE = Values(None, inline_bytes=1024)


class AwayObjectStore(MemoryObjectStore):
    """One that cannot be reached."""

    async def put(self, tenant: str, body: bytes) -> Reference:
        """See `ObjectStore`."""
        raise Unavailable("OBJECT_STORE_UNAVAILABLE", "the object store does not answer: gone")


class Logged:
    """A task's log on these stores, and the events that it was given."""

    def __init__(self, objects: MemoryObjectStore | None = None) -> None:
        self.objects = objects or MemoryObjectStore()
        self.events = MemoryEventStore()
        self.log = self.reopened(Values(self.objects, inline_bytes=1024))

    def reopened(self, values: Values = ALONE) -> EventStoreTaskLog:
        """The log as another process has it."""
        hot = MemoryHotStore()
        return EventStoreTaskLog(self.events, hot, owner=OWNER, lease=LEASE, values=values)

    async def after(self, *events: ev.Event) -> Task:
        """The task, once these have happened."""
        task, claim = await self.log.begin(ev.Started(NOW, SPEC), None)
        return await self.append(task, claim, *events)

    async def append(self, task: Task, claim: Claim, *events: ev.Event) -> Task:
        """One event after the other."""
        for event in events:
            task = await self.log.append(task, [event], claim)
        return task

    async def stored(self) -> list[pb.TaskEvent]:
        """The events as they go over the wire."""
        found = await self.events.read(TENANT, SPEC.task_id)
        return [pb.TaskEvent.FromString(each.body) for each in found]


def returned(output: object) -> ev.ToolReturned:
    return ev.ToolReturned(NOW, 1, 1, "call_1", "look", "1.0.0", output, None, 1.0)


def answered(answer: str, output: object = None) -> ev.Answered:
    return ev.Answered(NOW, 2, 1, answer, output, TURN)


async def test_a_large_result_is_kept_and_the_log_refers_to_it() -> None:
    it = Logged()
    task = await it.after(CALLED, returned(ROWS))
    message = (await it.stored())[-1]

    assert (message.reference.sha256, message.reference.size_bytes) == (
        reference_to(BODY).sha256,
        len(BODY),
    )
    assert BODY.decode().startswith(message.reference.excerpt)
    assert not message.HasField("output")
    assert await it.objects.get(TENANT, reference_to(BODY)) == BODY
    assert task.steps[0].calls[0].output == Large(
        reference_to(BODY).sha256, len(BODY), JSON, message.reference.excerpt
    )


async def test_a_large_answer_is_kept_and_the_task_shows_its_beginning() -> None:
    it = Logged()
    answer = "ü" * 5000
    task = await it.after(answered(answer), ev.Completed(NOW))
    resource = mapping.task(task)
    chunk = (await it.stored())[-1].chunks[-1]

    assert resource.result == "ü" * 4000
    assert resource.result_reference.media_type == TEXT
    assert [warning.code for warning in resource.warnings] == ["RESULT_CUT"]
    assert resource.result_reference == chunk.reference == mapping.response(task).result_reference
    assert chunk.content == "ü" * 2000
    assert await it.objects.get(TENANT, reference_to(answer.encode())) == answer.encode()


async def test_a_large_answer_bound_by_a_schema_is_kept_as_json() -> None:
    it = Logged()
    task = await it.after(answered(BODY.decode(), ROWS))
    resource = mapping.task(task)

    assert resource.result_reference.media_type == JSON
    assert not resource.HasField("output")
    assert await it.objects.get(TENANT, reference_to(BODY)) == BODY


@pytest.mark.parametrize("size_bytes", [1024, 1025])
async def test_what_is_not_over_the_limit_stays_in_the_log(size_bytes: int) -> None:
    it = Logged()
    text = "x" * (size_bytes - 2)
    await it.after(CALLED, returned(text), answered("é" * (size_bytes // 2)))
    result, answer = (await it.stored())[-2:]

    assert result.HasField("reference") == (size_bytes > 1024)
    assert (result.output.string_value == text) == (size_bytes == 1024)
    assert not answer.HasField("reference")


async def test_a_task_is_the_same_after_its_log_was_read_again() -> None:
    it = Logged()
    task = await it.after(CALLED, returned(ROWS), answered("ü" * 5000), ev.Completed(NOW))

    assert await it.reopened().load(TENANT, SPEC.task_id) == task


async def test_a_result_that_cannot_be_kept_is_a_failed_call_that_says_so() -> None:
    it = Logged(AwayObjectStore())
    task = await it.after(CALLED, returned(ROWS))
    failure = task.steps[0].calls[0].failure

    assert failure is not None
    assert failure.reason == "OBJECT_STORE_UNAVAILABLE"
    assert failure.message.startswith("look did its work")
    assert (await it.stored())[-1].status == "error"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Large("ab", 1, TEXT, ""), "INTERNAL"),
        (math.nan, "INTERNAL"),
        ("\ud800" + "x" * 1000, "INTERNAL"),
        ("\ud800", "INVALID_REQUEST"),
        (2**53 + 1, "INVALID_REQUEST"),
        (json.loads("[" * 30 + "]" * 30), "INVALID_REQUEST"),
    ],
)
async def test_a_result_that_the_log_cannot_have_is_a_failed_call(
    answer: object, reason: str
) -> None:
    it = Logged()
    task = await it.after(CALLED, returned({"answer": answer}))
    failure = task.steps[0].calls[0].failure

    assert failure is not None
    assert failure.reason == reason
    assert failure.message.startswith("look did its work")
    assert (await it.stored())[-1].status == "error"


async def test_an_answer_that_cannot_be_kept_elsewhere_stays_in_the_log_with_a_warning() -> None:
    it = Logged(AwayObjectStore())
    task = await it.after(answered("ü" * 5000), ev.Completed(NOW))

    assert task.text == "ü" * 5000
    assert [warning.code for warning in task.warnings] == ["OBJECT_STORE_UNAVAILABLE"]
    assert [event.type for event in await it.stored()][-3:] == [
        "warning",
        "final_answer",
        "task_complete",
    ]


async def test_without_an_object_store_a_large_result_is_refused_and_an_answer_is_not() -> None:
    it = Logged()
    it.log = it.reopened()
    task = await it.after(CALLED, returned(ROWS), answered("ü" * 5000))
    failure = task.steps[0].calls[0].failure

    assert failure is not None
    assert failure.reason == "TOOL_RESULT_TOO_LARGE"
    assert (task.text, task.output) == ("ü" * 5000, None)


async def test_a_log_that_refers_to_a_store_which_is_not_there_any_more_says_so() -> None:
    it = Logged()
    task = await it.after(CALLED, returned(ROWS))
    large = task.steps[0].calls[0].output
    assert isinstance(large, Large)

    with pytest.raises(FailedPrecondition) as caught:
        await it.reopened().value(TENANT, large, offset=0, length=10)

    assert caught.value.reason == "OBJECT_STORE_MISSING"
    assert await it.log.value(TENANT, large, offset=2, length=4) == b"rows"


async def test_one_tenants_reference_opens_nothing_for_another() -> None:
    it = Logged()
    task = await it.after(CALLED, returned(ROWS))
    large = task.steps[0].calls[0].output
    assert isinstance(large, Large)

    with pytest.raises(ServiceError) as caught:
        await it.log.value("other", large, offset=0, length=10)

    assert caught.value.reason == "OBJECT_NOT_FOUND"


async def test_large_texts_of_a_request_are_kept_and_their_beginnings_stay() -> None:
    it = Logged()
    source = pb.InvokeRequest(query="ask", messages=[Message(role="user", content="ü" * 5000)])
    asked = replace(
        REQUEST,
        query="ask",
        messages=[ev.Message("user", "ü" * 5000)],
        source=source.SerializeToString(),
    )
    short, ((name, large),) = it.log.shortened(asked)
    await it.log.keep(TENANT, asked, ((name, large),))

    (content,) = [message.content for message in short.messages]
    assert (name, large.size_bytes, short.query) == ("messages[0]", 10_000, "ask")
    assert content == "ü" * 4000
    assert pb.InvokeRequest.FromString(short.source).messages[0].content == content
    assert await it.log.value(TENANT, large, offset=9998, length=9) == "ü".encode()


async def test_a_request_without_large_texts_is_left_as_it_is() -> None:
    assert Logged().log.shortened(REQUEST) == (REQUEST, ())


async def test_a_request_whose_texts_cannot_be_kept_is_refused() -> None:
    it, asked = Logged(AwayObjectStore()), replace(REQUEST, query="x" * 2000)

    with pytest.raises(Unavailable):
        await it.log.keep(TENANT, asked, it.log.shortened(asked)[1])
