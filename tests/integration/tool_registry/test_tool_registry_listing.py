"""ListTools and GetTool over a real socket."""

import grpc
import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.errors import InvalidArgument
from services.tool_registry.app import running
from services.tool_registry.settings import Settings
from tests.integration.tool_registry.conftest import LOOPBACK, SHARED, Registry, fault_of

pytestmark = pytest.mark.asyncio(loop_scope="module")  # As the registry they share.

NAMES = ["calculator", "current_time", "unit_convert"]
OTHER_TENANT = [("runplane-tenant", "other")]


async def page(
    registry: Registry, page_size: int = 0, page_token: str = ""
) -> pb.ListToolsResponse:
    asked = pb.ListToolsRequest(page_size=page_size, page_token=page_token)
    return await registry.stub.ListTools(asked, timeout=5)


async def test_tools_are_listed_by_name(registry: Registry) -> None:
    listed = await page(registry)

    assert [tool.name for tool in listed.tools] == NAMES
    assert listed.next_page_token == ""


async def test_pages_of_one_add_up(registry: Registry) -> None:
    names, token = [], ""
    for _ in NAMES:
        listed = await page(registry, page_size=1, page_token=token)
        names += [tool.name for tool in listed.tools]
        token = listed.next_page_token

    assert names == NAMES
    assert token == ""


async def test_a_page_beyond_the_maximum_is_cut_to_it(registry: Registry) -> None:
    assert len((await page(registry, page_size=2**31 - 1)).tools) == len(NAMES)


async def test_a_negative_page_size_is_refused(registry: Registry) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await page(registry, page_size=-1)

    fault = fault_of(caught.value)
    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.reason == "PAGE_SIZE_INVALID"


@pytest.mark.parametrize("token", ["x", "AAAA", "ü", "A" * 10_000])
async def test_a_token_that_was_never_handed_out_is_refused(registry: Registry, token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await page(registry, page_token=token)

    fault = fault_of(caught.value)
    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.reason == "PAGE_TOKEN_INVALID"


async def test_a_token_is_no_use_to_another_tenant(registry: Registry) -> None:
    token = (await page(registry, page_size=1)).next_page_token

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await registry.stub.ListTools(
            pb.ListToolsRequest(page_token=token), metadata=OTHER_TENANT, timeout=5
        )

    assert fault_of(caught.value).info.reason == "PAGE_TOKEN_INVALID"


async def test_a_tool_has_all_that_a_model_needs(registry: Registry) -> None:
    tool = await registry.stub.GetTool(pb.GetToolRequest(name="calculator"), timeout=5)

    assert (tool.name, tool.version, tool.timeout_ms) == ("calculator", "1.0.0", 1000)
    assert tool.is_idempotent
    assert tool.description
    assert structs.to_dict(tool.input_schema)["required"] == ["expression"]
    assert structs.to_dict(tool.output_schema)["required"] == ["value"]
    assert len(tool.examples) >= 2


async def test_what_is_listed_is_what_is_got(registry: Registry) -> None:
    listed = (await page(registry)).tools

    assert list(listed) == [
        await registry.stub.GetTool(pb.GetToolRequest(name=name), timeout=5) for name in NAMES
    ]


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("nothing", grpc.StatusCode.NOT_FOUND, "TOOL_NOT_FOUND"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("a/b", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ],
)
async def test_a_tool_that_is_not_there_is_a_clear_error(
    registry: Registry, name: str, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await registry.stub.GetTool(pb.GetToolRequest(name=name), timeout=5)

    fault = fault_of(caught.value)
    assert (fault.code, fault.info.reason) == (code, reason)
    assert fault.info.metadata["field"] == "name"
    assert fault.info.metadata["suggested_fix"]


async def test_tools_whose_calls_need_an_approval_say_so() -> None:
    settings = Settings(server=LOOPBACK, approval={"calculator"})
    async with (
        running(settings, SHARED) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        listed = await pb_grpc.ToolRegistryServiceStub(channel).ListTools(
            pb.ListToolsRequest(), timeout=5
        )

    assert [each.name for each in listed.tools if each.requires_approval] == ["calculator"]


@pytest.mark.parametrize("name", ["tele port", ""])
async def test_an_approval_for_what_can_be_no_tool_stops_the_start(name: str) -> None:
    with pytest.raises(InvalidArgument):
        async with running(Settings(server=LOOPBACK, approval={name}), SHARED):
            pass
