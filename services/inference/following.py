"""Keeps a process's models as the store has them: looks now and then, and when it is told to."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.hotstore.port import Entry as Told
from services.chassis.hotstore.port import HotStore, Subscription
from services.inference.catalogue import Engines, Place
from services.inference.domain.entry import EVERYBODY, Wanted
from services.inference.ports import ModelStore

log = logging.getLogger(__name__)

TOPIC: Final = "models"


class Following:
    """See `Follows`. `following` makes one."""

    def __init__(
        self, engines: Engines, store: ModelStore, hot: HotStore, declared: Sequence[Wanted]
    ) -> None:
        self._engines = engines
        self._store = store
        self._hot = hot
        self._declared = declared
        self._looking = asyncio.Lock()
        self._looked_at = -math.inf

    async def look(self) -> None:
        """See `Follows`."""
        await self.see()
        await self._hot.publish(TOPIC, [Told(0, b"")])

    async def see(self) -> None:
        """See `Follows`. Who comes while others wait for their turn sees what they see."""
        came_at = asyncio.get_running_loop().time()
        async with self._looking:  # What was read first must not come last.
            if self._looked_at < came_at:
                began_at = asyncio.get_running_loop().time()
                self._engines.follow(await self._wanted())
                self._looked_at = began_at

    async def run(self, told: Subscription, every: timedelta) -> None:
        """Look again and again, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every.total_seconds()):
                    await told.next()
            self._engines.try_again()
            try:
                await self.see()
            except ServiceError as error:
                log.warning("models cannot be seen", extra={"error_code": error.reason})

    async def _wanted(self) -> Mapping[Place, Wanted]:
        wishes = {
            name: (is_wanted, number) for name, is_wanted, number in await self._store.wishes()
        }
        wanted: dict[Place, Wanted] = {}
        for each in self._declared:
            name = each.entry.name
            is_wanted, number = wishes.get(name, (each.is_wanted, 0))
            wanted[EVERYBODY, name] = Wanted(each.entry, bool(is_wanted), number)
        for tenant, each in await self._store.every():
            wanted[tenant, each.entry.name] = each
        return wanted


@asynccontextmanager
async def following(
    followed: Following, hot: HotStore, every: timedelta
) -> AsyncIterator[Following]:
    """Follow the store until the context is left."""
    async with hot.subscribe(TOPIC) as told, asyncio.TaskGroup() as group:
        running = group.create_task(followed.run(told, every))
        try:
            yield followed
        finally:
            running.cancel()
