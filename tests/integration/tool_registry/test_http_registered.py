"""HTTP tools and OpenAPI documents, registered and called over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import pytest
from pydantic import SecretStr
from runplane.tool_registry.v1 import targets_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.egress.settings import EgressSettings
from services.tool_registry.app import running
from services.tool_registry.settings import SecretSettings, Settings
from tests.integration.tool_registry.conftest import LOOPBACK, SHARED, Fault, fault_of, request
from tests.integration.tool_registry.hosts import listening
from tests.integration.tool_registry.http_targets import JSON, KEY, Target, answered
from tests.integration.tool_registry.test_openapi_calls import PETS, Shop

AUTH: Final = targets_pb2.HttpAuth(scheme="header", name="X-Api-Key", secret="key")  # noqa: S106 - a name
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


@asynccontextmanager
async def registry(
    allow: str = "127.0.0.1/32",
) -> AsyncIterator["pb_grpc.ToolRegistryServiceAsyncStub"]:
    """A registry that has one secret."""
    settings = Settings(
        server=LOOPBACK,
        egress=EgressSettings(allow=allow),
        secrets=SecretSettings(environment={"KEY": SecretStr(KEY)}),
    )
    async with (
        asyncio.timeout(10),
        running(settings, SHARED) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield pb_grpc.ToolRegistryServiceStub(channel)


def http_tool(port: int, **about: Any) -> pb.Tool:
    """A tool called `city`."""
    target = targets_pb2.HttpTarget(
        method="GET", url=f"http://127.0.0.1:{port}/cities/{{city}}", **about
    )
    tool = pb.Tool(name="city", description="Tells what is known of a city.", http=target)
    structs.from_dict(SCHEMA, tool.input_schema)
    return tool


def document(port: int, paths: Mapping[str, object] | None = None) -> pb.ImportOpenApiRequest:
    """An import of the pets, with some of their paths."""
    asked = pb.ImportOpenApiRequest(
        namespace="pets", base_url=f"http://127.0.0.1:{port}/api", auth=AUTH, tags=["shop"]
    )
    structs.from_dict({**PETS, **({"paths": paths} if paths else {})}, asked.document)
    return asked


def outcomes(answer: pb.ImportOpenApiResponse) -> Sequence[tuple[str, str, str]]:
    """What became of each operation that is a tool."""
    return [
        (each.tool_name, each.tool_version, each.outcome)
        for each in answer.operations
        if each.tool_name
    ]


async def fault(call: "grpc.aio.UnaryUnaryCall[Any, Any]") -> Fault:
    """The failure of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return fault_of(caught.value)


async def test_a_tool_that_is_registered_can_be_called() -> None:
    server = Target(answered('{"name": "Paris"}', JSON))
    async with registry() as stub, listening(server) as port:
        made = await stub.RegisterTool(pb.RegisterToolRequest(tool=http_tool(port, auth=AUTH)))
        answer = await stub.CallTool(request("city", city="Paris"))

    assert made.kind == pb.TOOL_KIND_HTTP
    assert made.http.auth.secret == AUTH.secret
    assert answer.status == "success"
    assert answer.result.struct_value["name"] == "Paris"
    assert server.headers["x-api-key"] == KEY
    assert KEY not in f"{made}{answer}"


async def test_a_target_inside_is_refused_by_name_of_the_setting() -> None:
    async with registry(allow="") as stub:
        error = await fault(stub.RegisterTool(pb.RegisterToolRequest(tool=http_tool(80))))

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.info.reason == "TARGET_REFUSED"
    assert error.fields == ["tool.http.url"]
    assert "TOOL_REGISTRY_EGRESS__ALLOW" in error.info.metadata["suggested_fix"]


async def test_a_redirect_inside_fails_the_call_and_not_the_registry() -> None:
    away = Target(answered("", "Location: http://169.254.169.254/", status="302 Found"))
    async with registry() as stub, listening(away) as port:
        await stub.RegisterTool(pb.RegisterToolRequest(tool=http_tool(port)))
        error = await fault(stub.CallTool(request("city", city="Paris")))
        still = await stub.CallTool(request("calculator", expression="1+1"))

    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert error.info.reason == "TARGET_REFUSED"
    assert still.status == "success"


async def test_a_field_without_a_place_is_refused() -> None:
    async with registry() as stub:
        tool = http_tool(80, query=["country"])
        error = await fault(stub.RegisterTool(pb.RegisterToolRequest(tool=tool)))

    assert error.info.reason == "INVALID_REQUEST"
    assert error.fields == ["tool.http.query"]


async def test_a_document_becomes_tools_that_can_be_called() -> None:
    shop = Shop()
    async with registry() as stub, listening(shop) as port:
        imported = await stub.ImportOpenApi(document(port))
        answer = await stub.CallTool(request("pets__get", id=1))
        odd = await stub.CallTool(request("pets__get", id=7))
        listed = await stub.ListTools(pb.ListToolsRequest(filter="tags.shop = true"))

    assert outcomes(imported) == [
        ("pets__list", "1.0.0", "registered"),
        ("pets__add", "1.0.0", "registered"),
        ("pets__get", "1.0.0", "registered"),
        ("pets__remove", "1.0.0", "registered"),
    ]
    assert answer.result.struct_value["name"] == "Rex"
    assert odd.error.reason == "TOOL_OUTPUT_INVALID"
    assert [each.name for each in listed.tools] == [
        "pets__add",
        "pets__get",
        "pets__list",
        "pets__remove",
    ]


async def test_a_document_again_changes_nothing_and_a_shorter_one_removes() -> None:
    paths = PETS["paths"]
    assert isinstance(paths, Mapping)
    shorter = {"/pets": {"get": paths["/pets"]["get"]}}
    async with registry() as stub:
        await stub.ImportOpenApi(document(80))
        again = await stub.ImportOpenApi(document(80))
        less = await stub.ImportOpenApi(document(80, shorter))
        gone = await fault(stub.GetTool(pb.GetToolRequest(name="pets__get")))

    assert {outcome for _, _, outcome in outcomes(again)} == {"unchanged"}
    assert outcomes(less) == [
        ("pets__list", "1.0.0", "unchanged"),
        ("pets__add", "", "removed"),
        ("pets__get", "", "removed"),
        ("pets__remove", "", "removed"),
    ]
    assert gone.info.reason == "TOOL_NOT_FOUND"


async def test_some_operations_may_be_imported_alone() -> None:
    asked = document(80)
    asked.operations.append("list")
    async with registry() as stub:
        imported = await stub.ImportOpenApi(asked)

    assert [each.operation for each in imported.operations] == ["list"]


async def test_what_is_no_document_registers_nothing() -> None:
    asked = document(80)
    asked.document["openapi"] = "2.0"
    async with registry() as stub:
        error = await fault(stub.ImportOpenApi(asked))
        listed = await stub.ListTools(pb.ListToolsRequest(filter='kind = "http"'))

    assert error.info.reason == "OPENAPI_INVALID"
    assert error.fields == ["document.openapi"]
    assert not listed.tools


async def test_a_document_of_a_refused_host_says_so_for_each_operation() -> None:
    async with registry(allow="") as stub:
        imported = await stub.ImportOpenApi(document(80))

    assert {each.outcome for each in imported.operations} == {"skipped"}
    assert "loopback" in imported.operations[0].reason
