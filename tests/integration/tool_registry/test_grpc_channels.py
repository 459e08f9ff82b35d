"""Connections that tools share."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import grpc
import pytest

from services.tool_registry.adapters.grpc.channels import FRESH_SECONDS, Channels
from services.tool_registry.domain.targets import Grpc
from tests.conftest import FakeClock
from tests.servers.grpc_service import SERVICE, Loopback, message, serving

METHOD = f"{SERVICE}/GetPlace"
ASKED = message("places.v1.GetPlaceRequest")(name="Lisbon").SerializeToString()


def channels(resolver: Loopback, clock: FakeClock | None = None, *, most: int = 2) -> Channels:
    """A few."""
    now = (clock or FakeClock()).monotonic
    return Channels(resolver, max_bytes=10_000, most=most, now=now)


def target(host: str = "a.example", *, tls: bool = False) -> Grpc:
    """Somewhere."""
    return Grpc(f"{host}:50051", METHOD, tls=tls)


async def called(channel: grpc.aio.Channel) -> bytes:
    """An answer through it."""
    return await channel.unary_unary(f"/{METHOD}")(ASKED, timeout=5)


async def test_calls_of_one_address_share_a_channel() -> None:
    resolver = Loopback()
    async with channels(resolver) as shared, AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(shared.lent(target())) for _ in range(3)]
        other = await stack.enter_async_context(shared.lent(target(tls=True)))

    assert lent[0] is lent[1] is lent[2] is not other
    assert len(resolver.asked) == 2


async def test_calls_that_come_at_once_share_a_channel() -> None:
    class Slow(Loopback):
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(0)
            return ["127.0.0.1"]

    async with channels(Slow()) as shared:

        async def one() -> grpc.aio.Channel:
            async with shared.lent(target()) as channel:
                return channel

        lent = await asyncio.gather(*(one() for _ in range(10)))

    assert len(set(map(id, lent))) == 1


async def test_a_name_that_moves_is_followed_and_calls_under_way_are_kept() -> None:
    resolver, clock = Loopback("127.0.0.2"), FakeClock()
    async with (
        asyncio.timeout(20),
        serving() as address,
        channels(resolver, clock) as shared,
    ):
        where = Grpc(f"a.example:{address.rpartition(':')[2]}", METHOD)
        async with shared.lent(where) as before:
            resolver.addresses = ("127.0.0.1",)
            async with shared.lent(where) as soon:
                pass
            clock.advance(timedelta(seconds=FRESH_SECONDS + 1))
            async with shared.lent(where) as after:
                answer = await called(after)
            state = before.get_state()
        closed = before.get_state()

    assert soon is before
    assert after is not before
    assert answer
    assert state is not grpc.ChannelConnectivity.SHUTDOWN
    assert closed is grpc.ChannelConnectivity.SHUTDOWN


async def test_the_channel_used_longest_ago_is_closed_first() -> None:
    async with channels(Loopback(), most=2) as shared:
        lent = []
        for host in ("a.example", "b.example", "a.example", "c.example", "a.example"):
            async with shared.lent(target(host)) as channel:
                lent.append(channel)

        assert lent[0] is lent[2] is lent[4]
        assert lent[1].get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_a_channel_in_use_is_not_closed_for_another() -> None:
    async with asyncio.timeout(20), serving() as address, channels(Loopback(), most=1) as shared:
        port = address.rpartition(":")[2]
        one, two = (Grpc(f"{host}.example:{port}", METHOD) for host in ("a", "b"))
        async with shared.lent(one) as first, shared.lent(two) as second:
            answers = await asyncio.gather(called(first), called(second))

        assert all(answers)
        assert first.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_leaving_closes_all_of_them() -> None:
    async with channels(Loopback()) as shared, shared.lent(target()) as channel:
        pass

    with pytest.raises(grpc.aio.UsageError):
        await called(channel)
