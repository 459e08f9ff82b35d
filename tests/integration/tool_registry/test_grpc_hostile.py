"""gRPC servers that mean no good: clear errors, and tools of others go on."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as reflecting

from services.chassis.errors import InvalidArgument, Unavailable
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.grpc_tools import RESULT_BYTES, entry, making, registered
from tests.servers.grpc_service import (
    GOOD,
    REFLECTION,
    SERVICE,
    compiled,
    message,
    serving,
)
from tests.servers.sockets import answering, speaking

ACT = f"{SERVICE}/Act"
KEY = "key"
Reflect = Callable[[reflecting.ServerReflectionRequest], bytes]


def with_files(*files: FileDescriptorProto | bytes) -> bytes:
    """An answer with these."""
    raw = [each if isinstance(each, bytes) else each.SerializeToString() for each in files]
    response = reflecting.ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.extend(raw)
    return response.SerializeToString()


def importing(name: str, *imports: str) -> FileDescriptorProto:
    """A file with the service."""
    file = FileDescriptorProto(name=name, package="places.v1", dependency=imports)
    file.service.add(name="PlaceService")
    return file


def endless(request: reflecting.ServerReflectionRequest) -> bytes:
    """Each file imports another one."""
    number = int(request.file_by_filename.removesuffix(".proto") or 0)
    return with_files(importing(f"{number}.proto", f"{number + 1}.proto"))


def looping(request: reflecting.ServerReflectionRequest) -> bytes:
    """Two files import each other."""
    pair = {"a.proto": "b.proto", "b.proto": "a.proto"}
    name = request.file_by_filename or "a.proto"
    return with_files(importing(name, pair[name]))


def other(request: reflecting.ServerReflectionRequest) -> bytes:
    """Never what was asked for."""
    return with_files(importing("a.proto", "b.proto"))


def huge(request: reflecting.ServerReflectionRequest) -> bytes:
    """A file that is too large, though each answer is not."""
    name = request.file_by_filename or "a.proto"
    file = importing(name, f"{name}x")
    file.options.java_package = "x" * 90_000
    return with_files(file)


def at_once(request: reflecting.ServerReflectionRequest) -> bytes:
    """More than is taken at a time."""
    file = importing("a.proto")
    file.options.java_package = "x" * (3 * 1024 * 1024)
    return with_files(file)


def dangling(request: reflecting.ServerReflectionRequest) -> bytes:
    """A method whose messages are nowhere."""
    file = importing("a.proto")
    file.service[0].method.add(name="GetPlace", input_type=".x.Y", output_type=".x.Y")
    return with_files(file)


def failing(request: reflecting.ServerReflectionRequest) -> bytes:
    """An error of its own making."""
    response = reflecting.ServerReflectionResponse()
    response.error_response.error_code = 13
    return response.SerializeToString()


SOUNDLESS: Mapping[str, Reflect] = {
    "garbage": lambda request: b"\xff\xff\xff",
    "no-descriptor": lambda request: with_files(b"\xff\xff\xff"),
    "nothing": lambda request: b"",
    "endless": endless,
    "looping": looping,
    "other": other,
    "huge": huge,
    "at-once": at_once,
    "dangling": dangling,
    "failing": failing,
}


@asynccontextmanager
async def reflected(reflect: Reflect) -> AsyncIterator[str]:
    """A server with reflection of a test's making."""

    async def handle(requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        async for raw in requests:
            yield reflect(reflecting.ServerReflectionRequest.FromString(raw))

    handler = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(handle)}
    async with serving(reflection=(), more={REFLECTION.format("v1"): handler}) as address:
        yield address


@pytest.mark.parametrize("how", SOUNDLESS)
async def test_reflection_that_is_not_sound_is_refused(how: str) -> None:
    async with asyncio.timeout(20), reflected(SOUNDLESS[how]) as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.metadata["field"] in {"tool.grpc.address", "tool.grpc.method"}
    assert caught.value.metadata["suggested_fix"]


async def test_reflection_that_ends_at_once_is_refused() -> None:
    async def handle(requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        return
        yield b""

    handler = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(handle)}
    more = {REFLECTION.format("v1"): handler}
    async with asyncio.timeout(20), serving(reflection=(), more=more) as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.metadata["field"] == "tool.grpc.address"


async def test_reflection_that_is_refused_asks_for_a_secret() -> None:
    async def handle(requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        await call.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        yield b""

    handler = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(handle)}
    more = {REFLECTION.format("v1"): handler}
    async with asyncio.timeout(20), serving(reflection=(), more=more) as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.metadata["field"] == "tool.grpc.secret"


async def test_a_server_of_the_older_reflection_is_understood_each_time() -> None:
    wanted = f"{SERVICE}/Missing"
    async with asyncio.timeout(20), serving(reflection=["v1alpha"]) as address, making() as tools:
        for _ in range(50):  # Whether the refusal of v1 comes before or after the question.
            with pytest.raises(InvalidArgument) as caught:
                await tools.checked(entry(address, wanted), "default")

    assert caught.value.metadata["field"] == "tool.grpc.method"


async def test_reflection_that_never_answers_is_given_up() -> None:
    async def handle(requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    handler = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(handle)}
    more = {REFLECTION.format("v1"): handler}
    async with (
        asyncio.timeout(20),
        serving(reflection=(), more=more) as address,
        making(seconds=0.2) as tools,
    ):
        with pytest.raises(Unavailable) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.reason == "TARGET_UNAVAILABLE"


@pytest.mark.parametrize(
    ("said", "hangs_up"),
    [(b"", True), (b"HTTP/1.1 200 OK\r\n\r\nhello", False), (b"", False), (b"\0" * 5000, False)],
    ids=["hangs-up", "http1", "silent", "zeros"],
)
async def test_a_server_that_speaks_no_grpc_is_unavailable(said: bytes, hangs_up: bool) -> None:
    async with (
        asyncio.timeout(20),
        speaking(said, hangs_up=hangs_up) as address,
        making(seconds=1) as tools,
    ):
        with pytest.raises(Unavailable) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.reason == "TARGET_UNAVAILABLE"


async def called(
    act: Callable[[bytes, Any], Awaitable[bytes]], method: str = ACT, **more: Any
) -> Any:
    """The answer of a tool whose method does this."""
    handlers = {**GOOD, method.rpartition("/")[2]: act}
    async with asyncio.timeout(20), serving(handlers) as address, making() as tools:
        tool = await registered(tools, entry(address, method))
        return await tool.call(Invocation({}, **more))


def saying(raw: bytes) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """A method that answers these bytes."""

    async def act(request: bytes, call: Any) -> bytes:
        return raw

    return act


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        (ACT, b"\xff\xff\xff"),
        ("Echo", b"\xa2\x01\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\x01"),  # Year 292 bn.
        ("Echo", b"\xea\x01\x05\n\x03a/b"),  # An Any of a type that is nowhere.
    ],
    ids=["garbage", "time", "any"],
)
async def test_an_answer_that_is_no_such_message_is_a_failure_of_the_targets(
    method: str, raw: bytes
) -> None:
    with pytest.raises(ToolFailure) as caught:
        await called(saying(raw), f"{SERVICE}/{method.rpartition('/')[2]}")

    assert caught.value.reason == "TOOL_OUTPUT_INVALID"
    assert caught.value.is_targets


async def test_an_answer_of_more_bytes_than_a_result_may_have_is_not_taken() -> None:
    large = message("places.v1.Place")(name="x" * (RESULT_BYTES + 1)).SerializeToString()
    with pytest.raises(ToolFailure) as caught:
        await called(saying(large), f"{SERVICE}/GetPlace")

    assert caught.value.reason == "TOOL_RESULT_TOO_LARGE"


async def test_two_bytes_that_stand_for_many_values_are_counted() -> None:
    forest = message("places.v1.Node")()
    for _ in range(40_000):
        forest.children.add()
    with pytest.raises(ToolFailure) as caught:
        await called(saying(forest.SerializeToString()), f"{SERVICE}/Grow")

    assert caught.value.reason == "TOOL_RESULT_TOO_LARGE"


async def test_a_packed_answer_is_not_unpacked_beyond_the_bound() -> None:
    place = message("places.v1.Place")(name="x" * 50_000_000)
    packed = gzip.compress(place.SerializeToString())
    framed = b"\1" + len(packed).to_bytes(4, "big") + packed
    async with (
        asyncio.timeout(20),
        answering(framed, ("grpc-encoding", "gzip")) as address,
        making() as tools,
    ):
        tool = await registered(tools, entry(address, descriptor_set=compiled()))
        with pytest.raises(ToolFailure) as caught:
            await tool.call(Invocation({}))

    assert len(packed) < RESULT_BYTES
    assert caught.value.reason == "TOOL_RESULT_TOO_LARGE"


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0\0\x09part", b"\0\xff\xff\xff\xff"], ids=["none", "part", "4GiB"]
)
async def test_an_answer_that_breaks_off_is_a_failure(content: bytes) -> None:
    async with asyncio.timeout(20), answering(content) as address, making() as tools:
        tool = await registered(tools, entry(address, descriptor_set=compiled()))
        with pytest.raises(ToolFailure) as caught:
            await tool.call(Invocation({}))

    assert caught.value.reason in {"TOOL_OUTPUT_INVALID", "TOOL_RESULT_TOO_LARGE"}


async def test_a_message_deeper_than_any_reader_goes_is_a_failure() -> None:
    raw = b""
    for _ in range(150):
        raw = b"\x12" + varint(len(raw)) + raw
    with pytest.raises(ToolFailure) as caught:
        await called(saying(raw), f"{SERVICE}/Grow")

    assert caught.value.reason == "TOOL_OUTPUT_INVALID"


async def test_a_message_too_deep_to_be_rid_of_secrets_is_a_failure() -> None:
    raw = b""
    for _ in range(90):  # Each is an object in a list.
        raw = b"\x12" + varint(len(raw)) + raw
    handlers = {**GOOD, "Grow": saying(raw)}
    async with (
        asyncio.timeout(20),
        serving(handlers) as address,
        making(**{KEY: "s3cret-of-mine"}) as tools,
    ):
        tool = await registered(tools, entry(address, f"{SERVICE}/Grow", secret=KEY))
        with pytest.raises(ToolFailure) as caught:
            await tool.call(Invocation({}))

    assert caught.value.reason == "TOOL_OUTPUT_INVALID"
    assert "nested too deep" in caught.value.message


def varint(number: int) -> bytes:
    """As protobuf has it."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


async def test_a_server_that_hangs_up_in_a_call_is_unavailable() -> None:
    started = asyncio.Event()

    async def act(request: bytes, call: Any) -> bytes:
        started.set()
        await asyncio.Event().wait()
        return b""

    async with asyncio.timeout(20), making() as tools:
        async with serving({**GOOD, "Act": act}) as address:
            tool = await registered(tools, entry(address, ACT))
            calling = asyncio.ensure_future(tool.call(Invocation({})))
            await started.wait()
        with pytest.raises(Unavailable) as caught:
            await calling

    assert caught.value.reason == "TOOL_UNAVAILABLE"


async def test_tools_of_others_go_on_meanwhile() -> None:
    async def never(request: bytes, call: Any) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with (
        asyncio.timeout(20),
        serving({**GOOD, "Act": never}) as bad,
        serving() as good,
        making() as tools,
    ):
        stuck = await registered(tools, entry(bad, ACT))
        fine = await registered(tools, entry(good))
        waiting = [
            asyncio.ensure_future(stuck.call(Invocation({}, timeout=timedelta(seconds=15))))
            for _ in range(50)
        ]
        answer = await fine.call(Invocation({"name": "Lisbon"}))
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)

    assert isinstance(answer.value, dict)


async def test_large_schemas_need_one_of_the_callers_own() -> None:
    fields = "\n".join(f"string {'field' * 10}_{number} = {number + 1};" for number in range(2000))
    proto = f"""syntax = "proto3"; package places.v1;
        message Wide {{ {fields} }}
        service PlaceService {{ rpc Act(Wide) returns (Wide); }}"""
    wanted = entry("127.0.0.1:1", ACT, descriptor_set=compiled(proto))
    async with making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(wanted, "default")

    assert caught.value.metadata["field"] == "tool.grpc.method"
    assert "input_schema" in caught.value.metadata["suggested_fix"]
