"""How a process comes to see what is stored, while others look too."""

import asyncio
from collections.abc import Mapping, Sequence

from services.chassis.hotstore.memory import MemoryHotStore
from services.inference.catalogue import Place
from services.inference.domain.entry import Echo, Entry, Wanted
from services.inference.following import Following


class Store:
    """Has what is put into it; each who reads waits for leave to."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Wanted]] = []
        self.reads = 0
        self._leave = asyncio.Semaphore(0)

    def let(self, reads: int) -> None:
        for _ in range(reads):
            self._leave.release()

    async def every(self) -> Sequence[tuple[str, Wanted]]:
        self.reads += 1
        await self._leave.acquire()
        return list(self.entries)

    async def wishes(self) -> Sequence[tuple[str, bool, int]]:
        return []


class Shelf:
    """Remembers what was followed last."""

    def __init__(self) -> None:
        self.wanted: Mapping[Place, Wanted] = {}

    def follow(self, wanted: Mapping[Place, Wanted]) -> None:
        self.wanted = wanted


def following() -> tuple[Following, Store, Shelf]:
    store, shelf = Store(), Shelf()
    return Following(shelf, store, MemoryHotStore(), ()), store, shelf


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_for_a_look_that_is_broken_off_looks_itself() -> None:
    followed, store, shelf = following()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        _, second, third = (group.create_task(followed.see()) for _ in range(3))
        await settled()
        store.let(1)
        await settled()
        store.entries.append(("t", Wanted(Entry("a", Echo()), is_wanted=True)))
        second.cancel()  # It is reading for the third, too.
        await settled()
        store.let(1)
        await third

    assert shelf.wanted.keys() == {("t", "a")}


async def test_those_who_wait_together_share_one_look() -> None:
    followed, store, _ = following()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(followed.see())
        await settled()
        store.let(2)

    assert store.reads == 2
