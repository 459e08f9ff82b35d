"""What quotas leave for the next call of a model. It is held before the call, and counted with the
events that say what the call took."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.quota import Bound, Usage, bounds, exceeded, room
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import Ledger, Model, QuotaStore
from services.orchestrator.retries import patiently

FIRST_LOOK_SECONDS: Final = 0.02
LAST_LOOK_SECONDS: Final = 0.5
"""Between two looks at what others hold."""
SPARE: Final = timedelta(seconds=30)
"""How much longer than its task something is held: for the last append to land."""

Count = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Budget:
    """Holds what tasks are about to take."""

    quotas: QuotaStore
    ledger: Ledger
    now: Callable[[], datetime]

    async def hold(self, task: Task, model: Model, wanted: int, count: Count) -> int:
        """How many of the wanted tokens the next turn may produce, which are held for it from now
        on. `count` says how long its prompt is, and is asked only where there is a quota. While
        others hold what this one needs, it waits: they may not come to use it.

        Raises:
            ResourceExhausted: `QUOTA_EXCEEDED`; not even one.
        """
        holding = await self._bounds(task)
        if not holding:
            return wanted
        prompt = await count()
        before = Usage(prompt, model.cost_usd(prompt, 0), prompt)
        pause = FIRST_LOOK_SECONDS
        while (used := await self._held(task, holding, takes(model, prompt, wanted))) is not None:
            if (fitting := self._fitting(holding, used, before, model)) < wanted:
                wanted = fitting
                continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - guards nothing
            pause = min(2 * pause, LAST_LOOK_SECONDS)
        return wanted

    async def _held(
        self, task: Task, holding: Sequence[Bound], takes_: Usage
    ) -> Sequence[Usage] | None:
        now = self.now()
        lasts = max(timedelta(0), task.deadline - now) + SPARE
        hold = self.ledger.hold
        return await patiently(
            lambda: hold(task.spec, holding, takes_, lasts=lasts, today=now.date())
        )

    def _fitting(
        self, holding: Sequence[Bound], used: Sequence[Usage], before: Usage, model: Model
    ) -> int:
        """As many tokens as all of them leave room for. Raises as `hold`."""
        output_usd = model.cost_usd(0, 1)
        rooms = [
            room(bound.quota, each, before, output_usd)
            for bound, each in zip(holding, used, strict=True)
        ]
        least = min(range(len(rooms)), key=rooms.__getitem__)
        if rooms[least] < 1:
            prompt = int(before.prompt_tokens)
            raise exceeded(holding[least], used[least], prompt, self.now().date())
        return math.floor(min(rooms[least], 2**31))

    async def _bounds(self, task: Task) -> Sequence[Bound]:
        quotas = await self.quotas.of(task.spec.tenant)
        return [bound for quota in quotas for bound in bounds(quota, task.spec)]


def takes(model: Model, prompt: int, wanted: int) -> Usage:
    """What a call may take at most."""
    return Usage(prompt + wanted, model.cost_usd(prompt, wanted), prompt, turns=1)
