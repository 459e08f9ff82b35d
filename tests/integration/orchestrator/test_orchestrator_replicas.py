"""Several replicas of the inference service, over real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from services.chassis.client import channel
from services.chassis.context import current, local_context
from services.chassis.errors import ResourceExhausted, Unavailable
from services.chassis.settings import ClientSettings
from services.inference.app import running
from services.inference.settings import EchoSettings
from services.inference.settings import Settings as InferenceSettings
from services.orchestrator.adapters.inference_grpc import GrpcModels
from services.orchestrator.adapters.replicas import Replicas, addresses, replicas_of, weight
from services.orchestrator.domain.events import Message, Sampling
from services.orchestrator.ports import Generation, Piece
from services.orchestrator.settings import BalanceSettings
from tests.integration.orchestrator.conftest import LOOPBACK, SHARED

SLOWLY = EchoSettings(delay=timedelta(milliseconds=20))


@dataclass
class Fleet:
    """Replicas that each can be stopped."""

    models: GrpcModels
    replicas: Replicas
    places: list[str]
    stops: dict[str, AsyncExitStack]

    def tokens(self) -> dict[str, int]:
        return {each.address: each.tokens for each in self.replicas.loads()}

    def out(self) -> set[str]:
        return {each.address for each in self.replicas.loads() if each.is_out}

    @asynccontextmanager
    async def speaking(
        self, generation: Generation
    ) -> AsyncIterator[tuple[str, AsyncGenerator[Piece, None]]]:
        """A call that has said its first word, and where it went."""
        before = self.tokens()
        async with aclosing(self.models.generate(generation, timeout=10)) as pieces:
            await anext(pieces)
            after = self.tokens()
            (where,) = (each for each in after if after[each] > before[each])
            yield where, pieces


def turn(
    affinity: str = "", *, tokens: int = 200, apart_from: Generation | None = None
) -> Generation:
    said = [Message("user", f"tokens:{tokens}")]
    return Generation(
        "echo", said, Sampling(), tokens, None, affinity=affinity, apart_from=apart_from
    )


async def said(fleet: Fleet, generation: Generation) -> str:
    return "".join([piece.text async for piece in fleet.models.generate(generation, timeout=10)])


@asynccontextmanager
async def fleet(
    count: int = 2, balance: BalanceSettings | None = None, echo: EchoSettings = SLOWLY
) -> AsyncIterator[Fleet]:
    current.set(local_context())
    settings = InferenceSettings(engine="echo", server=LOOPBACK, echo=echo)
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        stops: dict[str, AsyncExitStack] = {}
        for _ in range(count):
            own = await stack.enter_async_context(AsyncExitStack())
            served = await own.enter_async_context(running(settings, SHARED))
            stops[served.address] = own
        client = ClientSettings(target=f"ipv4:{','.join(stops)}")
        reads = await stack.enter_async_context(channel(client))
        replicas = await stack.enter_async_context(
            replicas_of(client, balance or BalanceSettings())
        )
        models = GrpcModels(reads, replicas, timeout=timedelta(seconds=5), ttl=timedelta(seconds=5))
        yield Fleet(models, replicas, list(stops), stops)


async def test_calls_go_where_the_least_tokens_are_to_be_done() -> None:
    async with fleet(3) as it, AsyncExitStack() as stack:
        places = [
            (await stack.enter_async_context(it.speaking(turn(tokens=tokens))))[0]
            for tokens in (400, 200, 100, 200)
        ]

    assert len(set(places[:3])) == 3
    assert places[3] == places[2]


async def test_what_is_done_counts_no_more() -> None:
    async with fleet() as it:
        async with it.speaking(turn()) as (where, _):
            during = it.tokens()

        assert during[where] == weight(turn())
        assert set(it.tokens().values()) == {0}


async def test_a_session_goes_to_the_same_replica_until_that_is_hot() -> None:
    async with fleet(2, BalanceSettings(hot_tokens=500)) as it, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        places = [(await enter(it.speaking(turn("session_1"))))[0] for _ in range(4)]

    assert len(set(places[:3])) == 1
    assert places[3] != places[0]


async def test_sessions_are_spread() -> None:
    async with fleet(2, echo=EchoSettings()) as it:
        homes = Counter[str]()
        for n in range(40):
            with it.replicas.lent(turn(f"session_{n}")) as replica:
                homes[replica.address] += 1

    assert set(homes) == set(it.places)


async def test_a_replica_that_cannot_be_reached_is_left_out_for_a_while() -> None:
    async with fleet(2, BalanceSettings(leave_out=timedelta(minutes=1))) as it:
        with it.replicas.lent(turn("session_1")) as home:
            gone = home.address
        await it.stops[gone].aclose()
        with pytest.raises(Unavailable):
            await said(it, turn("session_1"))

        out = it.out()
        async with it.speaking(turn("session_1")) as (where, _):
            pass

    assert out == {gone}
    assert where != gone


async def test_a_model_that_fails_does_not_put_its_replica_out() -> None:
    async with fleet() as it:
        failing = Generation("echo", [Message("user", "fail\nx")], Sampling(), 10, None)
        with pytest.raises(Unavailable) as caught:
            await said(it, failing)

        assert caught.value.reason == "ENGINE_FAILED"
        assert it.out() == set()
        assert set(it.tokens().values()) == {0}


async def test_a_replica_that_is_full_is_passed_by_until_it_says_to_try_again() -> None:
    full = EchoSettings(delay=timedelta(milliseconds=20), slots=1, queue=0)
    async with fleet(2, echo=full) as it, it.speaking(turn("session_1")) as (home, _):
        with pytest.raises(ResourceExhausted) as caught:
            await said(it, turn("session_1"))
        async with it.speaking(turn("session_1")) as (where, _):
            pass

    assert caught.value.reason == "ENGINE_OVERLOADED"
    assert where != home


async def test_what_one_tenants_model_says_sends_nobody_else_elsewhere() -> None:
    full = EchoSettings(delay=timedelta(milliseconds=20), slots=1, queue=0)
    async with fleet(2, echo=full) as it, it.speaking(turn("session_1")) as (home, _):
        with pytest.raises(ResourceExhausted):
            await said(it, turn("session_1"))
        own = {each.address for each in it.replicas.loads(("", "echo")) if each.is_out}
        others = {each.address for each in it.replicas.loads(("other", "echo")) if each.is_out}

    assert own == {home}
    assert others == it.out() == set()


async def test_addresses_are_looked_up_again_and_again() -> None:
    told = iter([["a:1"], ["a:1", "b:1"], Unavailable("NO_REPLICA", "for a moment"), ["b:1"]])
    asked_for_more = asyncio.Event()

    async def look_up() -> list[str]:
        if (found := next(told, None)) is None:
            asked_for_more.set()
            return ["b:1"]
        if isinstance(found, Unavailable):
            raise found
        return found

    often = BalanceSettings(refresh=timedelta(milliseconds=1))
    async with asyncio.timeout(5), replicas_of(ClientSettings(target=""), often, look_up) as found:
        first = [each.address for each in found.loads()]
        await asked_for_more.wait()
        last = [each.address for each in found.loads()]

    assert (first, last) == (["a:1"], ["b:1"])


async def test_a_second_call_goes_to_another_replica() -> None:
    first = turn("session_1")
    second = turn(apart_from=first)
    async with (
        fleet() as it,
        it.speaking(first) as (here, _),
        it.speaking(second) as (there, _),
    ):
        pass

    assert there != here


async def test_where_there_is_no_other_replica_there_is_no_second_call() -> None:
    first = turn("session_1")
    async with fleet(1) as it, it.speaking(first):
        with pytest.raises(Unavailable) as caught:
            await said(it, turn(apart_from=first))

    assert caught.value.reason == "NO_OTHER_REPLICA"


async def test_a_replica_that_is_gone_is_let_go_of_when_its_last_call_has_ended() -> None:
    async with fleet() as it:
        async with it.speaking(turn("session_1", tokens=20)) as (where, pieces):
            await it.replicas.set([each for each in it.places if each != where])
            rest = "".join([piece.text async for piece in pieces])
        await it.replicas.set([each for each in it.places if each != where])

        assert rest.endswith("tok20")
        assert [each.address for each in it.replicas.loads()] != [where]
        assert not it.replicas._gone


async def test_a_new_replica_gets_its_share() -> None:
    async with fleet() as it:
        await it.replicas.set(it.places[:1])
        async with it.speaking(turn()):
            await it.replicas.set(it.places)
            async with it.speaking(turn()) as (where, _):
                pass

    assert where == it.places[1]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:8082", ["127.0.0.1:8082"]),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", ["127.0.0.1:1", "127.0.0.2:2"]),
        ("dns:///127.0.0.1:8082", ["127.0.0.1:8082"]),
        ("ipv6:[::1]:1,[::1]:2", ["[::1]:1", "[::1]:2"]),
        ("[::1]:8082", ["[::1]:8082"]),
        ("localhost:8082", ["localhost:8082"]),
        ("unix:/run/inference.sock", ["unix:/run/inference.sock"]),
    ],
)
async def test_a_target_stands_for_its_addresses(target: str, expected: list[str]) -> None:
    assert await addresses(target) == expected


async def test_a_name_without_an_address_is_no_end() -> None:
    client = ClientSettings(target="nobody.invalid:8082")
    async with replicas_of(client, BalanceSettings()) as replicas:
        with pytest.raises(Unavailable) as caught, replicas.lent(turn()):
            pass

    assert caught.value.reason == "NO_REPLICA"
