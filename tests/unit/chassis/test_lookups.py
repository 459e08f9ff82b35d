"""Names that take long, and whom they hold up."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.chassis.egress import client as egress_module
from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.egress.lookups import (
    Places,
    SystemLookup,
    TooManyNames,
    on_behalf,
)
from services.chassis.errors import Unavailable

FOUND = ["8.8.8.8"]


class Resolver:
    """A system that answers names that begin with "slow" only when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.let.wait(10)
        return FOUND


@asynccontextmanager
async def lookups(resolver: Resolver, places: Places) -> AsyncIterator[SystemLookup]:
    """A lookup over it."""
    lookup = SystemLookup(resolver, places)
    try:
        async with asyncio.timeout(8):
            yield lookup
    finally:
        resolver.let.set()
        await lookup.close()


def asked(lookup: SystemLookup, tenant: str, host: str) -> "asyncio.Task[Sequence[str]]":
    """A name, asked for by a tenant."""

    async def ask() -> Sequence[str]:
        on_behalf.set(tenant)
        return await lookup(host, 443)

    return asyncio.get_running_loop().create_task(ask())


async def test_a_tenant_whose_names_hang_holds_up_nobody_else() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places(total=4, of_tenant=2)) as lookup:
        slow = [asked(lookup, "one", f"slow{number}.example") for number in range(8)]
        await asyncio.sleep(0)
        found = await asked(lookup, "other", "quick.example")

        assert found == FOUND
        assert not any(task.done() for task in slow)


async def test_a_name_is_asked_for_once_at_a_time() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places()) as lookup:
        tasks = [asked(lookup, "one", "slow.example") for _ in range(20)]
        await asyncio.sleep(0)
        resolver.let.set()
        found = await asyncio.gather(*tasks)

    assert found == [FOUND] * 20
    assert resolver.asked == ["slow.example"]


async def test_a_tenant_that_asks_for_too_many_names_is_refused() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places(of_tenant=1, waiting=3)) as lookup:
        slow = [asked(lookup, "one", f"slow{number}.example") for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyNames):
            await asked(lookup, "one", "quick.example")

        assert await asked(lookup, "other", "quick.example") == FOUND
        assert not any(task.done() for task in slow)


async def test_a_question_that_nobody_waits_for_keeps_its_place() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places(of_tenant=1)) as lookup:
        slow = asked(lookup, "one", "slow.example")
        await asyncio.sleep(0)
        slow.cancel()
        next_one = asked(lookup, "one", "quick.example")
        await asyncio.wait((next_one,), timeout=0.05)

        assert not next_one.done()
        resolver.let.set()
        assert await next_one == FOUND


async def test_closing_lets_nobody_wait() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places()) as lookup:
        slow = asked(lookup, "one", "slow.example")
        await asyncio.sleep(0)
        await lookup.close()
        with pytest.raises(OSError, match="any more"):
            await slow
        with pytest.raises(OSError, match="any more"):
            await lookup("quick.example", 443)


async def test_closing_ends_a_question_that_nobody_waits_for_and_those_that_have_no_place() -> None:
    resolver = Resolver()
    async with lookups(resolver, Places(of_tenant=1)) as lookup:
        askers = [asked(lookup, "one", f"slow{number}.example") for number in range(3)]
        await asyncio.sleep(0)
        for each in askers:
            each.cancel()
        await asyncio.wait(askers)
        before = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        await lookup.close()
        after = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

    assert (len(before), after) == (3, set())


async def test_what_is_no_name_has_no_address() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(OSError, match="encod"):
            await SystemLookup()("a" * 300, 443)


async def test_a_name_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(egress_module, "SECONDS", 0.05)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable) as caught:
            await Egress(Allowed(), lookup=never).resolve("some.example", 443)

    assert caught.value.reason == "TARGET_UNAVAILABLE"
    assert "in time" in caught.value.message


def test_a_name_that_hangs_does_not_keep_the_process() -> None:
    code = """
import asyncio, time
from services.chassis.egress.lookups import SystemLookup

async def main():
    lookup = SystemLookup(lambda host, port: time.sleep(60))
    task = asyncio.create_task(lookup("slow.example", 1))
    await asyncio.sleep(0.05)
    await lookup.close()
    await asyncio.gather(task, return_exceptions=True)
    print("over")

asyncio.run(main())
"""

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )

    assert done.stdout == "over\n"
