"""How much of what is said to a task lies in its inbox."""

import pytest

from services.chassis.errors import ResourceExhausted
from services.orchestrator.adapters.desk import MOST_BYTES
from services.orchestrator.domain import events as ev
from tests.unit.orchestrator.fakes import NOW, SPEC, bench

LARGE = "x" * (MOST_BYTES // 4)


async def test_an_inbox_with_a_few_large_letters_takes_small_ones_only() -> None:
    async with bench() as it:
        _, claim = await it.log.begin(ev.Started(NOW, SPEC), None)
        for _ in range(4):
            assert await it.desk.send("default", claim.stream_id, "return", LARGE)
        with pytest.raises(ResourceExhausted) as caught:
            await it.desk.send("default", claim.stream_id, "return", LARGE)
        assert await it.desk.send("default", claim.stream_id, "say", "{}")
        assert await it.desk.send("default", claim.stream_id, "cancel", "{}", is_last=True)

    assert caught.value.reason == "INBOX_FULL"
    assert caught.value.retry_after is not None
