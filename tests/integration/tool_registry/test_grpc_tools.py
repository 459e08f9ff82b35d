"""Tools that are methods of a real gRPC server."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import to_status

from services.chassis import context
from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.schema import Schema
from services.tool_registry.adapters.grpc.tool import GrpcTools
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.certificates import certified
from tests.integration.tool_registry.grpc_tools import entry, making, registered
from tests.servers.grpc_service import GOOD, SERVICE, Known, Loopback, compiled, serving, typed
from tests.servers.ports import free

SECRET = "places"  # noqa: S105 - its name
ACT = f"{SERVICE}/Act"
LISBON = {"name": "Lisbon", "latitude": 38.7, "longitude": -9.1, "height": 0}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_method_found_by_reflection_is_a_tool(version: str) -> None:
    async with serving(reflection=[version]) as address, making() as tools:
        tool = await registered(tools, entry(address))
        answer = await tool.call(Invocation({"name": "Lisbon"}))

    definition = tool.entry.definition
    assert answer.value == LISBON
    assert definition.input_schema.violations({"name": "Lisbon"}) == []
    assert definition.input_schema.violations({"nme": "Lisbon"})
    assert definition.output_schema.violations(answer.value) == []


async def test_once_registered_a_tool_needs_no_reflection() -> None:
    async with serving() as address, making() as tools:
        kept = await tools.checked(entry(address), "default")
    async with serving(reflection=()) as elsewhere, making() as tools:
        target = kept.target
        assert isinstance(target, Grpc)
        moved = entry(elsewhere, descriptor_set=target.descriptor_set)
        answer = await (await registered(tools, moved)).call(Invocation({"name": "Lisbon"}))

    assert answer.value == LISBON


async def test_a_descriptor_set_needs_no_server_until_the_call() -> None:
    wanted = entry("127.0.0.1:1", descriptor_set=compiled())
    async with making() as tools:
        tool = await registered(tools, wanted)
        with pytest.raises(Unavailable) as caught:
            await tool.call(Invocation({}))

    described = tool.entry.definition.input_schema.document
    assert described["description"] == "Asks for a place."
    assert (caught.value.reason, caught.value.retry_after) == (
        "TOOL_UNAVAILABLE",
        timedelta(seconds=1),
    )
    assert "127.0.0.1" not in caught.value.message


async def test_a_schema_of_ones_own_is_kept() -> None:
    own = Schema({"type": "object", "required": ["name"]}, field="input")
    async with serving() as address, making() as tools:
        tool = await registered(tools, entry(address, schema=own))

    assert tool.entry.definition.input_schema is own


async def test_what_a_schema_of_ones_own_lets_through_the_message_may_refuse() -> None:
    own = Schema({"type": "object"}, field="input")
    async with serving() as address, making() as tools:
        tool = await registered(tools, entry(address, schema=own))
        with pytest.raises(InvalidArgument) as caught:
            await tool.call(Invocation({"name": 5}))

    assert caught.value.reason == "TOOL_INPUT_INVALID"
    assert caught.value.metadata["field"] == "input"


@pytest.mark.parametrize(
    ("method", "field"),
    [
        (f"{SERVICE}/GetPlce", "tool.grpc.method"),
        (f"{SERVICE}/WatchPlace", "tool.grpc.method"),
        ("places.v1.Nothing/Get", "tool.grpc.method"),
    ],
)
async def test_a_method_that_cannot_be_a_tool_is_refused(method: str, field: str) -> None:
    async with serving() as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address, method), "default")

    assert caught.value.metadata["field"] == field
    assert caught.value.metadata["suggested_fix"]


async def test_the_server_says_which_services_it_has() -> None:
    async with serving() as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address, "places.v1.Nothing/Get"), "default")

    assert SERVICE in caught.value.message


async def test_a_server_without_reflection_is_told_of_descriptor_sets() -> None:
    async with serving(reflection=()) as address, making() as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry(address), "default")

    assert caught.value.metadata["field"] == "tool.grpc.descriptor_set"
    assert "descriptor_set_out" in caught.value.metadata["suggested_fix"]


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with asyncio.timeout(10), making() as tools:
        with pytest.raises(Unavailable) as caught:
            await tools.checked(entry("127.0.0.1:1"), "default")

    assert caught.value.reason == "TARGET_UNAVAILABLE"


async def test_metadata_trace_key_and_secret_go_along() -> None:
    seen: dict[str, str] = {}

    async def act(request: Any, call: Any) -> Any:
        seen.update(call.invocation_metadata())
        request.update({"echoed": seen["authorization"]})
        return request

    handlers = {**GOOD, "Act": typed("Act", act)}
    here = context.local_context()
    token = context.current.set(here)
    async with serving(handlers) as address, making(places="s3cret") as tools:
        wanted = entry(address, ACT, metadata={"x-client": "a b"}, secret=SECRET)
        tool = await registered(tools, wanted)
        answer = await tool.call(Invocation({}, idempotency_key="call_1"))
    context.current.reset(token)

    assert seen["x-client"] == "a b"
    assert seen["idempotency-key"] == "call_1"
    assert seen["traceparent"].startswith(f"00-{here.trace_id}-")
    assert seen["authorization"] == "Bearer s3cret"
    assert answer.value == {"echoed": "Bearer [secret]"}


async def test_a_key_that_metadata_cannot_have_is_sent_in_per_cents() -> None:
    keys: list[str] = []

    async def act(request: Any, call: Any) -> Any:
        keys.append(dict(call.invocation_metadata())["idempotency-key"])
        return request

    async with serving({**GOOD, "Act": typed("Act", act)}) as address, making() as tools:
        tool = await registered(tools, entry(address, ACT))
        for key in ("call_1", "ü 1"):
            await tool.call(Invocation({}, idempotency_key=key))

    assert keys == ["call_1", "%C3%BC%201"]


async def test_a_secret_that_cannot_be_sent_is_not_shown() -> None:
    async with serving() as address, making(places="line\nbreak") as tools:
        with pytest.raises(FailedPrecondition) as caught:
            await tools.checked(entry(address, secret=SECRET), "default")

    assert caught.value.reason == "SECRET_NOT_FOUND"
    assert "break" not in caught.value.message


async def test_the_deadline_goes_along_and_passes_as_a_timeout() -> None:
    left: list[float] = []
    never = asyncio.Event()

    async def act(request: Any, call: Any) -> Any:
        left.append(call.time_remaining())
        await never.wait()

    async with (
        asyncio.timeout(10),
        serving({**GOOD, "Act": typed("Act", act)}) as address,
        making() as tools,
    ):
        tool = await registered(tools, entry(address, ACT))
        with pytest.raises(DeadlineExceeded) as caught:
            await tool.call(Invocation({}, timeout=timedelta(milliseconds=200)))

    assert caught.value.reason == "TOOL_TIMEOUT"
    assert 0 < left[0] < 1


async def test_cancelling_the_call_cancels_it_at_the_server() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def act(request: Any, call: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with (
        asyncio.timeout(10),
        serving({**GOOD, "Act": typed("Act", act)}) as address,
        making() as tools,
    ):
        tool = await registered(tools, entry(address, ACT))
        calling = asyncio.ensure_future(tool.call(Invocation({})))
        await started.wait()
        calling.cancel()
        await stopped.wait()
        await asyncio.wait([calling])

    assert calling.cancelled()


def failing(code: int, message: str, *details: Message) -> dict[str, Any]:
    """A server whose Act fails so."""
    status = Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)

    async def act(request: Any, call: Any) -> Any:
        await call.abort_with_status(to_status(status))

    return {**GOOD, "Act": typed("Act", act)}


async def failure_of(handlers: dict[str, Any], **secrets: str) -> Exception:
    """What a call of it raises."""
    async with serving(handlers) as address, making(**secrets) as tools:
        tool = await registered(tools, entry(address, ACT, secret=next(iter(secrets), "")))
        with pytest.raises((ToolFailure, Unavailable, ResourceExhausted)) as caught:
            await tool.call(Invocation({}))
    return caught.value


@pytest.mark.parametrize(
    ("code", "is_targets"),
    [
        ("INVALID_ARGUMENT", False),
        ("NOT_FOUND", False),
        ("ALREADY_EXISTS", False),
        ("PERMISSION_DENIED", False),
        ("UNAUTHENTICATED", False),
        ("FAILED_PRECONDITION", False),
        ("ABORTED", False),
        ("OUT_OF_RANGE", False),
        ("RESOURCE_EXHAUSTED", False),
        ("CANCELLED", True),
        ("UNKNOWN", True),
        ("UNIMPLEMENTED", True),
        ("INTERNAL", True),
        ("DATA_LOSS", True),
    ],
)
async def test_a_status_is_a_failure_with_its_code(code: str, is_targets: bool) -> None:
    failure = await failure_of(failing(Code.Value(code), "no such thing"))

    assert isinstance(failure, ToolFailure)
    assert (failure.reason, failure.is_targets) == (f"GRPC_{code}", is_targets)
    assert "no such thing" in failure.message


async def test_details_are_told() -> None:
    info = ErrorInfo(reason="PLACE_UNKNOWN", metadata={"suggested_fix": "ask for Lisbon"})
    bad = BadRequest()
    bad.field_violations.add(field="name", description="is no place")
    failure = await failure_of(failing(Code.INVALID_ARGUMENT, "cannot", info, bad))

    assert isinstance(failure, ToolFailure)
    assert "PLACE_UNKNOWN" in failure.message
    assert "name: is no place" in failure.message
    assert failure.suggested_fix == "ask for Lisbon"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (Code.UNAVAILABLE, Unavailable, "TOOL_UNAVAILABLE"),
        (Code.RESOURCE_EXHAUSTED, ResourceExhausted, "TOOL_RATE_LIMITED"),
    ],
)
async def test_a_server_that_says_when_to_come_back_is_believed(
    code: int, kind: type[Exception], reason: str
) -> None:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(250)
    failure = await failure_of(failing(code, "later", retry))

    assert isinstance(failure, Unavailable | ResourceExhausted)
    assert isinstance(failure, kind)
    assert (failure.reason, failure.retry_after) == (reason, timedelta(milliseconds=250))


@pytest.mark.parametrize("seconds", [-1, 2**62])
async def test_a_time_to_come_back_is_bounded(seconds: int) -> None:
    retry = RetryInfo()
    retry.retry_delay.seconds = seconds
    failure = await failure_of(failing(Code.UNAVAILABLE, "later", retry))

    assert isinstance(failure, Unavailable)
    assert failure.retry_after is not None
    assert timedelta(0) <= failure.retry_after <= timedelta(minutes=5)


async def test_what_a_server_says_is_cut_and_does_not_show_the_secret() -> None:
    said = f"{'x' * 495}s3cret\x00{'y' * 1000}"
    failure = await failure_of(failing(Code.INTERNAL, said), weather="s3cret")

    assert isinstance(failure, ToolFailure)
    assert "s3c" not in failure.message
    assert len(failure.message) < 600
    assert failure.message.isprintable()


async def test_a_tool_works_again_when_its_server_is_back() -> None:
    async with asyncio.timeout(20), making() as tools:
        port = free()
        async with serving(port=port) as address:
            tool = await registered(tools, entry(address))
            await tool.call(Invocation({"name": "Lisbon"}))
        with pytest.raises(Unavailable):
            await tool.call(Invocation({"name": "Lisbon"}))
        async with serving(port=port):
            answer = await until_available(lambda: tool.call(Invocation({"name": "Lisbon"})))

    assert answer.value == LISBON


async def until_available(call: Callable[[], Any]) -> Any:
    """The answer of the first call that is not refused; grpc waits between two attempts."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.02)


async def test_the_server_has_to_be_who_the_address_names() -> None:
    certificate = certified("places.example")
    credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    async with (
        asyncio.timeout(20),
        serving(credentials=credentials) as address,
        making(roots=certificate.root) as tools,
    ):
        port = address.rpartition(":")[2]
        tool = await registered(tools, entry(f"places.example:{port}", tls=True))
        answer = await tool.call(Invocation({"name": "Lisbon"}))
        with pytest.raises(Unavailable) as caught:
            await tools.checked(entry(f"others.example:{port}", tls=True), "default")

    assert answer.value == LISBON
    assert caught.value.reason == "TARGET_UNAVAILABLE"


async def test_names_are_resolved_by_who_checks_them() -> None:
    resolver = Loopback("::1", "127.0.0.1")  # Nothing listens at the first.
    async with asyncio.timeout(20), serving() as address, making(resolver) as tools:
        port = int(address.rpartition(":")[2])
        tool = await registered(tools, entry(f"no.such.host.invalid:{port}"))
        answer = await tool.call(Invocation({"name": "Lisbon"}))

    assert answer.value == LISBON
    assert resolver.asked == [("no.such.host.invalid", port)]


class Refusing(Loopback):
    """Allows nothing."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """See `Resolver`."""
        raise FailedPrecondition("TARGET_REFUSED", f"{host} is not to be called")


@pytest.mark.parametrize("descriptor_set", [b"", compiled()])
async def test_an_address_that_is_refused_is_no_tool(descriptor_set: bytes) -> None:
    async with making(Refusing()) as tools:
        with pytest.raises(InvalidArgument) as caught:
            await tools.checked(entry("10.0.0.1:1", descriptor_set=descriptor_set), "default")

    assert caught.value.reason == "TARGET_REFUSED"
    assert caught.value.metadata["field"] == "tool.grpc.address"


async def test_an_address_that_is_refused_later_is_not_called() -> None:
    async with making() as tools:
        kept = await tools.checked(entry("a.example:1", descriptor_set=compiled()), "default")
    async with making(Refusing()) as tools:
        with pytest.raises(FailedPrecondition) as caught:
            await tools.made(kept, "default").call(Invocation({}))

    assert caught.value.reason == "TARGET_REFUSED"


async def test_a_host_without_an_address_is_unavailable() -> None:
    async with making(Nowhere()) as tools:
        tool = await registered(tools, entry("a.example:1", descriptor_set=compiled()))
        with pytest.raises(Unavailable) as caught:
            await tool.call(Invocation({}))
        with pytest.raises(Unavailable) as at_registration:
            await tools.checked(entry("a.example:1"), "default")

    assert caught.value.reason == "TOOL_UNAVAILABLE"
    assert at_registration.value.reason == "TARGET_UNAVAILABLE"


class Nowhere(Loopback):
    """Knows no address."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """See `Resolver`."""
        raise Unavailable("TARGET_UNAVAILABLE", f"{host} has no address")


async def test_the_way_out_that_all_tools_share_is_kept_to() -> None:
    shut, ajar = Egress(Allowed.parsed("")), Egress(Allowed.parsed("127.0.0.0/8"))
    async with serving() as address:
        async with GrpcTools(ajar, Known(), result_bytes=1000) as tools:
            tool = await registered(tools, entry(address))
            answer = await tool.call(Invocation({"name": "Lisbon"}))
        async with GrpcTools(shut, Known(), result_bytes=1000) as tools:
            with pytest.raises(InvalidArgument) as caught:
                await tools.checked(entry(address), "default")

    assert answer.value == LISBON
    assert caught.value.reason == "TARGET_REFUSED"
