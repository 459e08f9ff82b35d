"""What is kept of what the tool registry said."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import grpc
import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.context import Principal, current, local_context
from services.chassis.errors import NotFound
from services.orchestrator.adapters import tools_known
from services.orchestrator.adapters.tools_grpc import GrpcTools
from services.orchestrator.adapters.tools_known import KnownTools
from tests.unit.orchestrator.fakes import pass_time

TTL = timedelta(seconds=5)


class Source:
    """A registry that has these tools, the newest last."""

    def __init__(self, *tools: pb.Tool) -> None:
        self.tools = list(tools)
        self.asked: Counter[str] = Counter()
        self.takes = 0.0
        """Seconds that an answer is on its way."""

    async def list_offered(self) -> Sequence[pb.Tool]:
        """The newest of each."""
        self.asked["list"] += 1
        found = [pb.Tool.FromString(each.SerializeToString()) for each in self.tools[-1:]]
        await pass_time(self.takes)
        return found

    async def get(self, name: str, version: str) -> pb.Tool:
        """One of them; no version and a range allow the newest."""
        self.asked[version] += 1
        for tool in reversed(self.tools):
            if tool.name == name and version in (tool.version, "", "*"):
                found = pb.Tool.FromString(tool.SerializeToString())
                await pass_time(self.takes)
                return found
        raise NotFound("TOOL_NOT_FOUND", name)


def look(version: str, **fields: object) -> pb.Tool:
    return pb.Tool(name="look", version=version, **fields)  # type: ignore[arg-type]


def known(source: Source) -> KnownTools:
    return KnownTools(source.list_offered, source.get, TTL)


async def test_the_same_tool_is_the_same_object_however_often_it_is_fetched() -> None:
    source = Source(look("1.0.0"))
    tools = known(source)
    first = (await tools.catalogue("default")).offered["look"]
    source.tools[0].unavailable = "it hung up"
    await pass_time(6)
    later = (await tools.catalogue("default")).offered["look"]
    others = (await tools.catalogue("hers")).offered["look"]

    assert first is later is others
    assert source.asked["list"] == 3


async def test_naming_a_tool_asks_for_that_one_alone() -> None:
    source = Source(look("1.0.0"), look("2.0.0"))
    tools = known(source)

    found = [await tools.find("default", "look", version) for version in ("", "2.0.0", "")]

    assert [each.version for each in found] == ["2.0.0"] * 3
    assert source.asked == {"": 1}


async def test_versions_that_are_offered_are_not_asked_for_again() -> None:
    source = Source(look("1.0.0"), look("2.0.0"))
    tools = known(source)
    offered = (await tools.catalogue("default")).offered["look"]
    await pass_time(30)

    assert await tools.find("default", "look", "2.0.0") is offered
    assert source.asked == {"list": 1}


async def test_an_older_version_is_kept_for_longer_than_a_range() -> None:
    source = Source(look("1.0.0"), look("2.0.0"))
    tools = known(source)
    for _ in range(2):
        await tools.find("default", "look", "1.0.0")
        await tools.find("default", "look", "*")
        await pass_time(30)

    assert source.asked["1.0.0"] == 1
    assert source.asked["*"] == 2


async def seen(tools: KnownTools) -> list[str]:
    """The versions that a task would get that begins now, however it asks."""
    catalogue = await tools.catalogue("default")
    named = [await tools.find("default", "look", version) for version in ("", "*")]
    return [catalogue.offered["look"].version, *(each.version for each in named)]


@pytest.mark.parametrize("takes", [0.0, 2.0])
async def test_every_replica_sees_a_new_version_once_what_it_kept_is_old(takes: float) -> None:
    source = Source(look("1.0.0"))
    source.takes = takes
    replicas = [known(source) for _ in range(2)]
    before = [await seen(each) for each in replicas]
    source.tools.append(look("1.1.0"))
    await pass_time(TTL.total_seconds())

    assert before == [["1.0.0"] * 3] * 2
    assert [await seen(each) for each in replicas] == [["1.1.0"] * 3] * 2
    assert (await replicas[0].find("default", "look", "1.0.0")).version == "1.0.0"


async def test_a_value_is_as_old_as_the_question() -> None:
    source = Source(look("1.0.0"))
    source.takes = 4.0
    tools = known(source)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(seen(tools))
        await pass_time(1)
        source.tools.append(look("1.1.0"))
    await pass_time(2)

    assert asking.result()[0] == "1.0.0"
    assert await seen(tools) == ["1.1.0"] * 3


async def test_what_is_kept_of_versions_is_a_tenants_own() -> None:
    source = Source(look("1.0.0"), look("2.0.0"))
    tools = known(source)

    await tools.find("default", "look", "1.0.0")
    await tools.find("hers", "look", "1.0.0")

    assert source.asked["1.0.0"] == 2


async def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_known, "_TENANTS", 2)
    source = Source(look("1.0.0"))
    tools = known(source)
    for tenant in ("a", "b", "c", "c", "a"):
        await tools.catalogue(tenant)

    assert source.asked["list"] == 4


async def test_nothing_is_kept_for_a_tenant_that_another_one_was_told() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        tools = GrpcTools(channel, timeout=TTL, ttl=TTL)
        current.set(local_context(Principal("hers")))
        with pytest.raises(LookupError):
            await tools.catalogue("default")
