"""What quotas leave for the next call of a model. It is held before the call, and counted with the
events that say what the call took."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.quota import Bound, Usage, bounds, contended, exceeded, room
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import Ledger, Model, QuotaStore

ATTEMPTS: Final = 3  # Others may take what was seen to be free.
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
        on. `count` says how long its prompt is, and is asked only where there is a quota.

        Raises:
            ResourceExhausted: `QUOTA_EXCEEDED`; not even one. `QUOTA_CONTENDED`, with RetryInfo;
                others took what was seen to be free, again and again.
        """
        holding = await self._bounds(task)
        if not holding:
            return wanted
        prompt = await count()
        before = Usage(prompt, model.cost_usd(prompt, 0), prompt)
        for _ in range(ATTEMPTS):
            takes = Usage(prompt + wanted, model.cost_usd(prompt, wanted), float(prompt), turns=1.0)
            now = self.now()
            lasts = max(timedelta(0), task.deadline - now) + SPARE
            used = await self.ledger.hold(task.spec, holding, takes, lasts=lasts, today=now.date())
            if used is None:
                return wanted
            wanted = min(wanted, self._fitting(holding, used, before, model))
        raise contended(holding[0])

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
