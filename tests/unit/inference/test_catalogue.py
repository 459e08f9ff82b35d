"""Models as one process holds them: loaded, asked, loaded anew, unloaded."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest

from services.chassis.errors import FailedPrecondition, NotFound, ServiceError, Unavailable
from services.inference.catalogue import Engines, Own
from services.inference.domain.entry import EVERYBODY, Echo, Entry, Listed, Llamacpp, State, Wanted
from services.inference.domain.generation import Finished
from services.inference.domain.request import Message, Request
from services.inference.engines.echo.engine import EchoEngine
from services.inference.ports import Built

ASKED = Request("a", (Message("user", "one two three"),))
FILE = Llamacpp(file="a.gguf")


class Engine(EchoEngine):
    """Echo, as slow to load as a test wants it, and with an end that can be seen."""

    def __init__(self, may_load: asyncio.Event, error: ServiceError | None = None) -> None:
        super().__init__()
        self.is_closed = False
        self._may_load = may_load
        self._error = error

    async def load(self) -> None:
        await self._may_load.wait()
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        self.is_closed = True


class Shop:
    """Builds engines, and keeps them to be looked at."""

    def __init__(self) -> None:
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.error: ServiceError | Exception | None = None
        self.built: list[Engine] = []

    async def __call__(self, tenant: str, entry: Entry) -> Built:
        if self.error is not None and not isinstance(self.error, ServiceError):
            raise self.error
        engine = Engine(self.may_load, self.error)
        self.built.append(engine)
        return Built(engine)


@asynccontextmanager
async def shelf(shop: Shop, own: Own | None = None, most: int = 8) -> AsyncIterator[Engines]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        engines = Engines(own, shop, group, most_loaded=most)
        try:
            yield engines
        finally:
            shop.may_load.set()
            await engines.close()


def wanted(name: str, *, number: int = 1, is_wanted: bool = True, **more: object) -> Wanted:
    runs_on = more.pop("runs_on", Echo())
    return Wanted(Entry(name, runs_on, **more), is_wanted, number)


async def loaded(engines: Engines, tenant: str, each: Wanted) -> Listed:
    engines.follow({(tenant, each.entry.name): each})
    return await engines.settled(tenant, each.entry.name)


async def spoken(generating: AsyncGenerator[str | Finished, None]) -> Sequence[str | Finished]:
    async with aclosing(generating) as pieces:
        return [piece async for piece in pieces]


async def test_what_is_wanted_is_loaded_and_asked_by_all_its_names() -> None:
    async with shelf(Shop()) as engines:
        listed = await loaded(engines, "t", wanted("a", aliases=("b",)))
        found = [engines.find("t", name).model.name for name in ("a", "b", "")]

    assert listed.state is State.READY
    assert found == ["a", "a", "a"]


async def test_a_tenants_model_is_nobody_elses() -> None:
    async with shelf(Shop()) as engines:
        await loaded(engines, "t", wanted("a"))

        with pytest.raises(NotFound):
            engines.find("other", "a")
        assert engines.listed("other") == []


async def test_while_it_is_loaded_callers_are_told_to_come_again() -> None:
    shop = Shop()
    shop.may_load.clear()
    async with shelf(shop) as engines:
        engines.follow({("t", "a"): wanted("a")})

        with pytest.raises(Unavailable) as caught:
            engines.find("t", "a")

    assert caught.value.reason == "ENGINE_LOADING"
    assert caught.value.retry_after is not None


async def test_until_models_are_known_nobody_is_told_that_there_is_none() -> None:
    async with shelf(Shop()) as engines:
        with pytest.raises(Unavailable) as caught:
            engines.find("t", "a")

    assert caught.value.reason == "ENGINE_LOADING"


async def test_unloading_waits_for_what_is_under_way() -> None:
    shop = Shop()
    async with shelf(shop) as engines:
        await loaded(engines, "t", wanted("a"))
        serving = engines.find("t", "a")
        generating = serving.engine.generate(ASKED, pace=timedelta(0))
        first = await anext(generating)
        engines.follow({("t", "a"): wanted("a", number=2, is_wanted=False)})
        await asyncio.sleep(0)
        with pytest.raises(FailedPrecondition) as caught:
            engines.find("t", "a")
        before = (engines.seen("t", "a").state, shop.built[0].is_closed)
        await generating.aclose()
        after = (await engines.settled("t", "a")).state

    assert isinstance(first, Finished)
    assert caught.value.reason == "MODEL_NOT_LOADED"
    assert before == (State.UNLOADING, False)
    assert (after, shop.built[0].is_closed) == (State.UNLOADED, True)


async def test_who_found_a_model_before_it_was_unloaded_is_told_to_ask_again() -> None:
    shop = Shop()
    async with shelf(shop) as engines:
        await loaded(engines, "t", wanted("a"))
        engine = engines.find("t", "a").engine
        first = engine.generate(ASKED, pace=timedelta(0))
        await anext(first)
        engines.follow({("t", "a"): wanted("a", number=2, is_wanted=False)})
        await asyncio.sleep(0)

        with pytest.raises(Unavailable) as meanwhile:
            await engine.count_tokens("a", ASKED.messages)
        await first.aclose()
        await engines.settled("t", "a")
        with pytest.raises(Unavailable) as after:
            await spoken(engine.generate(ASKED, pace=timedelta(0)))

    assert (meanwhile.value.reason, bool(meanwhile.value.retry_after)) == ("ENGINE_LOADING", True)
    assert after.value.reason == "ENGINE_LOADING"


async def test_an_entry_that_runs_otherwise_is_loaded_anew_and_another_price_is_not() -> None:
    shop = Shop()
    async with shelf(shop) as engines:
        await loaded(engines, "t", wanted("a"))
        await loaded(engines, "t", wanted("a", number=2, input_price_usd=3.0))
        same, price = len(shop.built), engines.find("t", "a").price
        await loaded(engines, "t", wanted("a", number=3, slots=2))
        closed = [each.is_closed for each in shop.built]

    assert (same, price) == (1, (3.0, 0.0))
    assert closed == [True, False]


async def test_a_failure_stays_until_somebody_says_something_new() -> None:
    shop = Shop()
    shop.error = FailedPrecondition("MODEL_FILE_INVALID", "cut", suggested_fix="get it anew")
    async with shelf(shop) as engines:
        failed = await loaded(engines, "t", wanted("a"))
        with pytest.raises(FailedPrecondition) as caught:
            engines.find("t", "a")
        shop.error = None
        same = await loaded(engines, "t", wanted("a"))
        engines.try_again()
        mended = await loaded(engines, "t", wanted("a", number=2))

    assert failed.failure is not None
    assert (failed.state, failed.failure.reason) == (State.FAILED, "MODEL_FILE_INVALID")
    assert caught.value.metadata["cause"] == "MODEL_FILE_INVALID"
    assert (same.state, mended.state) == (State.FAILED, State.READY)


async def test_what_is_declared_and_cannot_be_loaded_is_known_to_those_who_measure() -> None:
    shop = Shop()
    async with shelf(shop) as engines:
        await loaded(engines, EVERYBODY, wanted("a"))
        shop.error = Unavailable("ENGINE_FAILED", "no memory")
        engines.follow(
            {
                (EVERYBODY, "a"): wanted("a"),
                (EVERYBODY, "b"): wanted("b"),
                (EVERYBODY, "c"): wanted("c", is_wanted=False),
                ("t", "d"): wanted("d"),
            }
        )
        await engines.settled("t", "b")
        await engines.settled("t", "d")

        assert engines.failed == {"a": 0, "b": 1}


async def test_a_failure_is_kept_without_what_led_to_it() -> None:
    shop = Shop()
    shop.error = Unavailable("ENGINE_FAILED", "what it said was large")
    async with shelf(shop) as engines:
        failed = await loaded(engines, "t", wanted("a"))

    assert failed.failure is not None
    assert failed.failure.__traceback__ is None
    assert failed.failure.__context__ is None


async def test_an_upstream_that_was_away_is_tried_again() -> None:
    shop = Shop()
    shop.error = Unavailable("ENGINE_FAILED", "away")
    async with shelf(shop) as engines:
        failed = await loaded(engines, "t", wanted("a"))
        shop.error = None
        engines.try_again()
        back = await engines.settled("t", "a")

    assert (failed.state, back.state) == (State.FAILED, State.READY)


async def test_those_who_measure_see_it_missing_until_it_is_back() -> None:
    shop = Shop()
    shop.error = Unavailable("ENGINE_FAILED", "away")
    async with shelf(shop) as engines:
        await loaded(engines, EVERYBODY, wanted("a"))
        shop.error = None
        shop.may_load.clear()
        engines.try_again()
        await asyncio.sleep(0)
        state, meanwhile = engines.listed("t")[0].state, dict(engines.failed)
        shop.may_load.set()
        await engines.settled("t", "a")

        assert (state, meanwhile) == (State.LOADING, {"a": 1})
        assert engines.failed == {"a": 0}


async def test_those_who_measure_see_nothing_missing_that_somebody_has_changed() -> None:
    shop = Shop()
    shop.error = Unavailable("ENGINE_FAILED", "away")
    async with shelf(shop) as engines:
        await loaded(engines, EVERYBODY, wanted("a"))
        shop.may_load.clear()
        engines.follow({(EVERYBODY, "a"): wanted("a", number=2)})

        assert engines.failed == {"a": 0}


async def test_a_bug_in_an_engine_fails_its_entry_alone() -> None:
    shop = Shop()
    async with shelf(shop, Own([EchoEngine()])) as engines:
        shop.error = ZeroDivisionError()
        failed = await loaded(engines, "t", wanted("a"))
        serving = engines.find("t", "echo")

    assert failed.state is State.FAILED
    assert serving.model.name == "echo"


async def test_what_is_unwanted_while_it_is_loaded_is_unloaded_then() -> None:
    shop = Shop()
    shop.may_load.clear()
    async with shelf(shop) as engines:
        engines.follow({("t", "a"): wanted("a")})
        await asyncio.sleep(0)
        engines.follow({("t", "a"): wanted("a", number=2, is_wanted=False)})
        shop.may_load.set()
        listed = await engines.settled("t", "a")

    assert listed.state is State.UNLOADED
    assert [each.is_closed for each in shop.built] == [True]


async def test_a_deleted_entry_is_let_go_of() -> None:
    shop = Shop()
    async with shelf(shop) as engines:
        await loaded(engines, "t", wanted("a"))
        engines.follow({})
        with pytest.raises(NotFound):
            engines.find("t", "a")

    assert [each.is_closed for each in shop.built] == [True]


async def test_an_entry_that_is_deleted_while_it_is_loaded_holds_up_no_end() -> None:
    shop = Shop()
    shop.may_load.clear()
    async with shelf(shop) as engines:
        engines.follow({("t", "a"): wanted("a")})
        await asyncio.sleep(0)
        engines.follow({})
        await engines.close()

        assert [each.is_closed for each in shop.built] == [True]


async def test_room_is_for_models_that_are_here() -> None:
    async with shelf(Shop(), most=1) as engines:
        names = ("a", "b", "c")
        entries = [wanted("a", runs_on=FILE), wanted("b", runs_on=FILE), wanted("c")]
        engines.follow({("t", each.entry.name): each for each in entries})
        listed = [await engines.settled("t", name) for name in names]

    assert [each.state for each in listed] == [State.READY, State.FAILED, State.READY]
    assert listed[1].failure is not None
    assert listed[1].failure.reason == "TOO_MANY_MODELS_LOADED"


async def test_a_tenants_own_goes_before_what_is_declared() -> None:
    async with shelf(Shop()) as engines:
        theirs = wanted("b", aliases=("a",))
        engines.follow({(EVERYBODY, "a"): wanted("a"), ("t", "b"): theirs})
        await engines.settled("t", "a")
        await engines.settled("other", "a")
        found = [engines.find(tenant, "a").model.name for tenant in ("t", "other")]

    assert found == ["b", "a"]


async def test_those_who_measure_see_the_settings_and_the_declared_by_their_names() -> None:
    async with shelf(Shop(), Own([EchoEngine()])) as engines:
        engines.follow({(EVERYBODY, "a"): wanted("a"), ("t", "b"): wanted("b")})
        await engines.settled("t", "a")
        await engines.settled("t", "b")
        names = [each.models()[0].name for each in engines.engines]

    assert names == ["echo", "a"]
