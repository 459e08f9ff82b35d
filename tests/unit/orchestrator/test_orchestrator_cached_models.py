"""Turns of models that are said again."""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.hotstore.memory import MemoryHotStore
from services.orchestrator.adapters.answers import PATIENCE
from services.orchestrator.domain.caching import control
from services.orchestrator.domain.events import Message, Sampling
from services.orchestrator.ports import Generation
from tests.unit.orchestrator import fakes
from tests.unit.orchestrator.caches import (
    ASKED,
    BOUNDS,
    GONE,
    GREEDY,
    cache,
    heard,
    is_free,
    text,
)
from tests.unit.orchestrator.fakes import FakeModels, pass_time


async def test_the_same_question_is_answered_again_in_the_same_pieces() -> None:
    async with cache() as c:
        first = await heard(c.models)
        again = await heard(c.models)

    assert [piece.text for piece in again] == [piece.text for piece in first] == ["Hel", "lo", ""]
    assert (is_free(first), is_free(again)) == (False, True)
    assert again[-1].finish_reason == "stop"
    assert c.asked == 1


async def test_a_turn_from_the_cache_says_what_was_saved_and_costs_nothing() -> None:
    async with cache() as c:
        await heard(c.models)
        again = await heard(c.models)

    turn = again[-1].turn
    assert turn == replace(fakes.TURN, is_cached=True)
    assert (turn.tokens, turn.saved_tokens) == (0, fakes.TURN.tokens)


OTHERS: Final[dict[str, dict[str, Any]]] = {
    "tenant": {"tenant": "other"},
    "text": {"messages": (Message("user", "hello"),)},
    "role": {"messages": (Message("assistant", "Hello"),)},
    "split": {"messages": (Message("user", "Hel"), Message("user", "lo"))},
    "temperature": {"sampling": Sampling(temperature=0.5), "cache": control("allow")},
    "top_p": {"sampling": replace(GREEDY, top_p=0.5)},
    "stop": {"sampling": replace(GREEDY, stop=("lo",))},
    "seed": {"sampling": replace(GREEDY, seed=1)},
    "max_tokens": {"max_tokens": 65},
    "schema": {"schema": {"type": "object"}},
    "prefix": {"prefix": "Hel"},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
async def test_what_decides_about_a_turn_makes_it_another_question(changes: dict[str, Any]) -> None:
    async with cache() as c:
        await heard(c.models)
        other = await heard(c.models, replace(ASKED, **changes))

    assert not is_free(other)
    assert c.asked == 2


async def test_another_version_of_a_model_is_asked_anew() -> None:
    async with cache() as c:
        await heard(c.models)
        c.behind.model = replace(fakes.MODEL, version="2")
        other = await heard(c.models)

    assert not is_free(other)


async def test_another_name_of_a_model_is_the_same_question() -> None:
    async with cache() as c:
        await heard(c.models, replace(ASKED, model=""))
        again = await heard(c.models)

    assert is_free(again)


async def test_equal_schemas_are_the_same_question_however_they_are_written() -> None:
    one, other = {"type": "object", "title": "x"}, {"title": "x", "type": "object"}
    async with cache() as c:
        await heard(c.models, replace(ASKED, schema=one))
        again = await heard(c.models, replace(ASKED, schema=other))

    assert is_free(again)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": Sampling()},
        {"sampling": Sampling(temperature=0.7)},
        {"cache": control("no-store")},
        {"cache": None},
    ],
)
async def test_what_is_not_to_be_cached_is_neither_kept_nor_answered(
    changes: dict[str, Any],
) -> None:
    async with cache() as c:
        said = [await heard(c.models, replace(ASKED, **changes)) for _ in range(2)]

    assert [is_free(each) for each in said] == [False, False]
    assert (c.answers.counts.kept, c.answers.counts.misses) == (0, 0)


async def test_what_differs_each_time_is_cached_where_the_caller_allows_it() -> None:
    asked = replace(ASKED, sampling=Sampling(temperature=0.7), cache=control("allow"))
    async with cache(("one",), ("two",)) as c:
        await heard(c.models, asked)
        again = await heard(c.models, asked)

    assert (text(again), is_free(again)) == ("one", True)


async def test_no_cache_asks_the_model_and_keeps_what_it_says_now() -> None:
    async with cache(("one",), ("two",)) as c:
        await heard(c.models)
        anew = await heard(c.models, replace(ASKED, cache=control("no-cache")))
        after = await heard(c.models)

    assert (text(anew), is_free(anew)) == ("two", False)
    assert (text(after), is_free(after)) == ("two", True)


@pytest.mark.parametrize(("says", "is_hit"), [("max-age=60", True), ("max-age=59", False)])
async def test_max_age_takes_nothing_older(says: str, is_hit: bool) -> None:
    async with cache() as c:
        await heard(c.models)
        c.clock.advance(timedelta(seconds=59.5))
        again = await heard(c.models, replace(ASKED, cache=control(says)))

    assert is_free(again) is is_hit


async def test_nothing_is_answered_that_is_older_than_it_may_be() -> None:
    async with cache() as c:
        await heard(c.models)
        c.clock.advance(BOUNDS.ttl)
        again = await heard(c.models)

    assert not is_free(again)


async def test_only_if_cached_asks_no_model() -> None:
    asked = replace(ASKED, sampling=Sampling(), cache=control("only-if-cached"))
    async with cache() as c:
        with pytest.raises(FailedPrecondition) as caught:
            await heard(c.models, asked)

    assert (caught.value.reason, c.asked) == ("ANSWER_NOT_CACHED", 0)


async def test_only_if_cached_has_what_is_there() -> None:
    async with cache() as c:
        await heard(c.models)
        again = await heard(c.models, replace(ASKED, cache=control("only-if-cached")))

    assert is_free(again)


async def test_a_turn_that_was_cut_is_not_kept() -> None:
    async with cache() as c:
        c.behind.finish_reason = "length"
        said = [await heard(c.models) for _ in range(2)]

    assert [is_free(each) for each in said] == [False, False]


async def test_a_turn_that_nobody_found_good_is_not_kept() -> None:
    async with cache() as c:
        await heard(c.models, is_good=False)
        again = await heard(c.models)

    assert not is_free(again)


async def test_a_turn_that_failed_is_not_kept() -> None:
    async with cache(("Hel", GONE), ("Hello",)) as c:
        with pytest.raises(Unavailable):
            await heard(c.models)
        again = await heard(c.models)

    assert (text(again), is_free(again)) == ("Hello", False)


async def test_a_turn_of_which_only_the_beginning_was_heard_is_not_kept() -> None:
    async with cache(("Hel", asyncio.Event()), ("Hello",)) as c:
        async with aclosing(c.models.generate(ASKED, timeout=30)) as pieces:
            await anext(pieces)
        again = await heard(c.models)

    assert (text(again), is_free(again)) == ("Hello", False)


async def test_what_another_version_said_than_was_listed_is_not_kept() -> None:
    class Newer(FakeModels):
        async def generate(self, generation: Generation, *, timeout: float) -> Any:
            async for piece in super().generate(generation, timeout=timeout):
                yield replace(piece, model_version="2") if piece.turn else piece

    async with cache() as c:
        c.models._models = Newer()
        said = [await heard(c.models) for _ in range(2)]

    assert [is_free(each) for each in said] == [False, False]


async def test_a_turn_that_is_too_large_is_not_kept() -> None:
    async with cache(("x" * BOUNDS.most_bytes,)) as c:
        said = [await heard(c.models) for _ in range(2)]

    assert [is_free(each) for each in said] == [False, False]


async def test_what_is_at_hand_has_a_bound_and_the_hot_store_has_the_rest() -> None:
    async with cache(bounds=replace(BOUNDS, near_bytes=4096)) as c:
        for number in range(50):
            await heard(c.models, replace(ASKED, max_tokens=number + 1))
        again = await heard(c.models, replace(ASKED, max_tokens=1))

    assert is_free(again)
    assert c.answers.counts.hits == {"near": 0, "far": 1, "shared": 0}
    assert 0 < c.answers.counts.size_bytes <= 4096


async def test_what_one_replica_keeps_all_have() -> None:
    hot = MemoryHotStore()
    async with cache(hot=hot) as one:
        first = await heard(one.models)
    async with cache(hot=hot) as other:
        said = [await heard(other.models) for _ in range(2)]

    assert [[piece.text for piece in each] for each in said] == [[p.text for p in first]] * 2
    assert other.answers.counts.hits == {"near": 1, "far": 1, "shared": 0}
    assert other.asked == 0


GARBAGE: Final = [
    b"",
    b"\xff",
    b"[]",
    b"null",
    b"{}",
    b'{"v":2,"at":1e10,"texts":["x"],"used":[1,1,0]}',
    b'{"v":1,"at":1e10,"texts":[1],"used":[1,1,0]}',
    b'{"v":1,"at":1e10,"texts":["x"],"used":[1]}',
    b'{"v":1,"at":"x","texts":["x"],"used":[1,1,0]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("held", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_the_hot_store_has_and_nobody_can_read_is_not_there(held: bytes) -> None:
    class Garbled(MemoryHotStore):
        async def get(self, key: str) -> bytes | None:
            return held

    async with cache(hot=Garbled()) as c:
        said = await heard(c.models)

    assert (text(said), is_free(said)) == ("Hello", False)


async def test_a_hot_store_that_is_too_slow_is_not_waited_for_again_and_again() -> None:
    class Slow(MemoryHotStore):
        gets = 0

        async def get(self, key: str) -> bytes | None:
            self.gets += 1
            await pass_time(1000)
            return None

    hot = Slow()
    async with cache(hot=hot) as c:
        began = asyncio.get_running_loop().time()
        for number in range(10):
            await heard(c.models, replace(ASKED, max_tokens=number + 1))
        took = asyncio.get_running_loop().time() - began

    assert (hot.gets, c.asked) == (1, 10)
    assert took == pytest.approx(PATIENCE)


async def test_what_no_hash_can_be_made_of_is_asked_as_it_is() -> None:
    async with cache() as c:
        said = [
            await heard(c.models, replace(ASKED, schema={"const": 2**60 + 1})) for _ in range(2)
        ]

    assert [is_free(each) for each in said] == [False, False]
    assert c.asked == 2


def zipf(chance: random.Random, questions: int, count: int) -> list[int]:
    """So many draws, of which the n-th likeliest question is 1/n as likely as the first."""
    weights = [1 / (rank + 1) for rank in range(questions)]
    return chance.choices(range(questions), weights, k=count)


@pytest.mark.parametrize(
    ("near_bytes", "what"), [(1024 * 1024, "all of them"), (200 * 500, "a fifth of them")]
)
async def test_four_of_five_questions_as_people_ask_them_are_answered_from_the_cache(
    near_bytes: int, what: str
) -> None:
    asked: Callable[[int], Generation] = lambda n: replace(ASKED, max_tokens=n + 1)  # noqa: E731
    async with cache(bounds=replace(BOUNDS, near_bytes=near_bytes)) as c:
        for number in zipf(random.Random(7), 1000, 10_000):
            await heard(c.models, asked(number))
        counts = c.answers.counts

    hits = sum(counts.hits.values())
    assert hits + counts.misses == 10_000
    assert hits / 10_000 >= 0.8, what
