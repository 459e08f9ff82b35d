"""Tasks of routes whose turns may come from the cache."""

import asyncio
from dataclasses import replace

from services.chassis.errors import Unavailable
from services.orchestrator.domain.routed import Routed
from services.orchestrator.ports import Model
from services.orchestrator.seen import Seen
from tests.unit.orchestrator.fakes import TURN
from tests.unit.orchestrator.test_orchestrator_cached_tasks import cached, ended

GONE = Unavailable("ENGINE_FAILED", "the engine failed")
NEXT = Model("next", "7", 8192, 512, can_continue=True)
ROUTED = Routed("default", "short_answer", "pinned", "the first of its rule", ("fake", "next"))


async def test_a_second_call_is_made_though_the_first_asks_the_same() -> None:
    hedged = replace(ROUTED, models=("fake",), hedge_after_ms=300)
    async with cached((asyncio.Event(),), ("two",)) as it:
        task = await ended(it, 1, routed=hedged)

    assert (task.text, task.is_cached) == ("two", False)
    assert it.models.hung_up == ["fake", "fake"]


async def test_an_answer_from_the_cache_says_nothing_of_how_fast_a_model_is() -> None:
    async with cached(("one",)) as it:
        await ended(it, 1)
        it.seen = Seen()
        task = await ended(it, 2)

    assert task.is_cached
    assert it.seen.expected(("default", "fake"), 10) is None


async def test_what_a_fallback_said_is_not_kept_as_what_the_first_model_says() -> None:
    async with cached(("One, ", GONE), ("two",), ("Three",)) as it:
        it.models.others = (NEXT,)
        fallen = await ended(it, 1, routed=ROUTED)
        task = await ended(it, 2, routed=ROUTED)

    assert (fallen.text, fallen.model) == ("One, two", "next")
    assert (task.text, task.model, task.tokens) == ("Three", "fake", TURN.tokens)
