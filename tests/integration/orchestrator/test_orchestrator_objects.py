"""Large values over real sockets: kept in a folder, read by the agent and by people."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import ErrorInfo
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1.sessions_pb2 import ListMessagesRequest
from runplane.type.v1.content_pb2 import Message

from services.chassis import structs
from services.chassis.status import status_of
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import SHARED, Suite, started
from tests.unit.tool_registry.fakes import FakeTool

ROWS = [f"row {number}: é, 漢字, 🙂" for number in range(10_000)]
WHOLE = json.dumps({"rows": ROWS}, ensure_ascii=False)
EXPORT = {"numbers": list(range(99_000)), "text": "é" * 650_000}  # 1.9 MB
SCRIPT = 'tool:lookup {}\nthought:on\ntool:read_result {"offset": 200000, "length": 60}\nDone.'


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """What programs test of a failed call."""
    info = ErrorInfo()
    next(each for each in status_of(error).details if each.Is(info.DESCRIPTOR)).Unpack(info)
    return info


def paths(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def lookup(arguments: Mapping[str, object]) -> object:
    return {"rows": ROWS}


async def export(arguments: Mapping[str, object]) -> object:
    return EXPORT


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(folder: Path) -> AsyncIterator[Suite]:
    shared = SHARED.model_copy(update={"object_store": folder.as_uri()})
    more = [FakeTool(lookup, name="lookup"), FakeTool(export, name="export")]
    async with started(TaskSettings(), shared=shared, more=more) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def whole(suite: Suite, task_id: str, sha256: str, length: int) -> tuple[str, int]:
    """A value, and in how many parts it came."""
    texts: list[str] = []
    request = pb.GetTaskObjectRequest(task_id=task_id, sha256=sha256, length=length)
    while True:
        part = await suite.stub.GetTaskObject(request, timeout=5)
        texts.append(part.text)
        if not part.HasField("next_offset"):
            return "".join(texts), len(texts)
        request.offset = part.next_offset


async def test_a_result_over_64_kib_goes_to_the_store_and_the_agent_reads_on_in_it(
    suite: Suite, folder: Path
) -> None:
    events = await suite.events(SCRIPT)
    large, read = [event for event in events if event.type == "tool_result"]

    assert events[-1].status == "completed"
    assert large.reference.size_bytes == len(WHOLE.encode()) > 64 * 1024
    assert WHOLE.startswith(large.reference.excerpt)
    assert max(event.ByteSize() for event in events) < 32 * 1024
    assert [path.name for path in paths(folder)] == [large.reference.sha256]
    piece = structs.to_value(read.output)
    assert isinstance(piece, dict)
    assert read.status == "success"
    assert piece["text"] in WHOLE
    assert piece["of"] == large.tool_call_id
    assert piece["next_offset"] - piece["offset"] == len(piece["text"].encode()) <= 60


@pytest.mark.parametrize(("length", "parts"), [(0, 5), (100_000, 3), (1024 * 1024, 1)])
async def test_people_read_a_large_value_in_parts(suite: Suite, length: int, parts: int) -> None:
    events = await suite.events(SCRIPT)
    large = next(event for event in events if event.HasField("reference"))

    text, number = await whole(suite, large.task_id, large.reference.sha256, length)
    assert text == WHOLE
    assert number == parts


async def test_an_answer_over_64_kib_comes_whole_and_is_listed_in_part(suite: Suite) -> None:
    request = pb.InvokeRequest(query="tokens:20000", tool_choice="none")
    request.sampling.max_tokens = 30_000
    answer = await suite.stub.Invoke(request, timeout=20)
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=answer.task_id), timeout=5)
    page = await suite.stub.ListTasks(pb.ListTasksRequest(), timeout=5)
    listed = page.tasks[0]

    text, _ = await whole(suite, answer.task_id, listed.result_reference.sha256, 0)
    assert text == " ".join(f"tok{number}" for number in range(1, 20_001))
    assert answer.result == task.result == text
    assert listed.result == text[:4000]
    assert [warning.code for warning in listed.warnings] == ["RESULT_CUT"]
    assert not [*answer.warnings, *task.warnings]


async def test_a_large_result_of_a_call_is_shown_in_part_wherever_it_is_read(suite: Suite) -> None:
    request = pb.InvokeRequest(call=pb.ToolCallSpec(tool="export", input=Struct()))
    answer = await suite.stub.Invoke(request, timeout=20)
    wanted = pb.GetTaskRequest(task_id=answer.task_id)
    task, again = [await suite.stub.GetTask(wanted, timeout=5) for _ in range(2)]
    watching = pb.WatchTaskRequest(task_id=answer.task_id)
    events = [event async for event in suite.stub.WatchTask(watching, timeout=5)]

    returned = next(event for event in events if event.type == "tool_result")
    text, _ = await whole(suite, answer.task_id, task.result_reference.sha256, 1024 * 1024)
    assert json.loads(text) == EXPORT
    assert task == again
    for shown in (answer, task):
        assert shown.result == text[:4000]
        assert not shown.HasField("output")
        assert shown.result_reference.sha256 == returned.reference.sha256
        assert [warning.code for warning in shown.warnings] == ["RESULT_CUT"]
    assert max(each.ByteSize() for each in (answer, task, *events)) < 32 * 1024
    assert (task.status, task.last_sequence) == ("completed", events[-1].sequence)


async def test_a_long_answer_among_the_messages_of_its_session_says_where_it_is(
    suite: Suite,
) -> None:
    request = pb.InvokeRequest(query="tokens:20000", tool_choice="none")
    request.sampling.max_tokens = 30_000
    answer = await suite.stub.Invoke(request, timeout=20)
    listing = ListMessagesRequest(session_id=answer.metadata.session_id)
    asked, said = (await suite.sessions.ListMessages(listing, timeout=5)).messages

    text, _ = await whole(suite, said.task_id, said.reference.sha256, 0)
    assert text == answer.result
    assert said.content == text[:4000]
    assert (said.reference.size_bytes, said.reference.excerpt) == (len(text), "")
    assert not asked.HasField("reference")


async def test_an_answer_bound_by_a_schema_comes_whole_as_json(tmp_path: Path) -> None:
    shared = SHARED.model_copy(update={"object_store": tmp_path.as_uri()})
    query = json.dumps(ROWS[:1000], ensure_ascii=False, separators=(",", ":"))
    between = len(query.encode()) + 100  # The answer has spaces after its commas.
    request = pb.InvokeRequest(query=query, tool_choice="none")
    structs.from_dict({"type": "array", "items": {"type": "string"}}, request.response_schema)
    request.sampling.max_tokens = 200_000
    async with started(TaskSettings(inline_bytes=between), shared=shared) as suite:
        answer = await suite.stub.Invoke(request, timeout=20)
        listed = (await suite.stub.ListTasks(pb.ListTasksRequest(), timeout=5)).tasks[0]

    assert structs.to_value(answer.output) == json.loads(answer.result) == ROWS[:1000]
    assert listed.result_reference.media_type == "application/json"
    assert not listed.HasField("output")


async def test_an_answer_whose_object_is_gone_is_shown_in_part_and_says_so(tmp_path: Path) -> None:
    shared = SHARED.model_copy(update={"object_store": tmp_path.as_uri()})
    async with started(shared=shared) as suite:
        request = pb.InvokeRequest(query="tokens:20000", tool_choice="none")
        request.sampling.max_tokens = 30_000
        answer = await suite.stub.Invoke(request, timeout=20)
        for path in paths(tmp_path):
            path.unlink()
        task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=answer.task_id), timeout=5)

    assert task.result == answer.result[:4000]
    assert [warning.code for warning in task.warnings] == ["RESULT_CUT"]


async def test_of_a_query_over_64_kib_the_agent_sees_the_beginning_and_reads_on(
    suite: Suite,
) -> None:
    script = 'tool:read_result {"of": "query", "offset": 300000, "length": 100}\nDone.\n'
    query = script + WHOLE * 2
    events = await suite.events(query, idempotency_key="large")
    again = await suite.events(query, idempotency_key="large")
    start, result = events[0], next(each for each in events if each.type == "tool_result")
    (kept,) = start.request_references

    piece = structs.to_value(result.output)
    assert isinstance(piece, dict)
    assert query.encode()[300_000:].decode().startswith(piece["text"])
    assert start.request.query.startswith(query[:4000])
    assert start.ByteSize() < 32 * 1024
    assert (kept.field, kept.reference.size_bytes) == ("query", len(query.encode()))
    assert (await whole(suite, start.task_id, kept.reference.sha256, 0))[0] == query
    assert events[-1].status == "completed"
    assert again == events


async def test_a_large_message_of_the_conversation_is_kept_under_its_place(suite: Suite) -> None:
    said = [Message(role="user", content="Hello"), Message(role="assistant", content=WHOLE)]
    events = await suite.events("Go on", messages=said)

    assert [each.field for each in events[0].request_references] == ["messages[1]"]
    assert events[0].request.messages[0].content == "Hello"


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("query", pb.InvokeRequest(query="x" * 1_048_577)),
        ("query", pb.InvokeRequest(query="x" * 70_000, tool_choice="none")),
        ("messages", pb.InvokeRequest(messages=[Message(role="user", content="x" * 60_000)] * 2)),
    ],
)
async def test_a_text_that_cannot_be_kept_or_read_is_refused(
    suite: Suite, field: str, request_: pb.InvokeRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.Invoke(request_, timeout=5)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(caught.value).metadata["field"] == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "../../etc/passwd"),
        ("sha256", "AB" * 32),
        ("offset", -1),
        ("length", -1),
        ("length", 1024 * 1024 + 1),
    ],
)
async def test_what_is_no_part_is_refused_and_named(
    suite: Suite, field: str, value: object
) -> None:
    request = pb.GetTaskObjectRequest(task_id="task_x", sha256="ab" * 32)
    setattr(request, field, value)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.GetTaskObject(request, timeout=5)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(caught.value).metadata["field"] == field


async def test_a_hash_opens_only_what_the_task_itself_refers_to(suite: Suite) -> None:
    large = next(event for event in await suite.events(SCRIPT) if event.HasField("reference"))
    other = (await suite.events("Hello"))[0]
    request = pb.GetTaskObjectRequest(task_id=other.task_id, sha256=large.reference.sha256)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.GetTaskObject(request, timeout=5)

    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert error_info(caught.value).reason == "OBJECT_NOT_FOUND"


async def test_the_store_refusing_writes_fails_the_call_and_not_the_task(tmp_path: Path) -> None:
    shared = SHARED.model_copy(update={"object_store": tmp_path.as_uri()})
    async with started(shared=shared, more=[FakeTool(lookup, name="lookup")]) as broken:
        (tmp_path / "unfinished").rmdir()
        events = await broken.events("tool:lookup {}\nAll the same.")
    result = next(event for event in events if event.type == "tool_result")

    assert (result.status, result.error.error_code) == ("error", "OBJECT_STORE_UNAVAILABLE")
    assert events[-1].status == "completed"
