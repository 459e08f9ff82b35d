"""Engines made for what tenants create."""

import asyncio
from pathlib import Path

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.egress.lookups import on_behalf
from services.chassis.egress.secrets import StoredSecrets
from services.inference.building import Building
from services.inference.domain.entry import Entry, OpenAi


async def test_names_are_looked_up_in_the_places_of_the_tenant_whose_model_it_is(
    tmp_path: Path,
) -> None:
    asked: list[str] = []
    came = asyncio.Event()

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(on_behalf.get())
        came.set()
        raise OSError(host)

    async with Egress(Allowed(), lookup=lookup) as egress, asyncio.timeout(10):
        building = Building(tmp_path, StoredSecrets(None, {}), egress.client)

        async def load(tenant: str) -> None:
            entry = Entry("a", OpenAi(url="http://upstream.example/v1"), context_tokens=1_000)
            await (await building(tenant, entry)).engine.load()

        async with asyncio.TaskGroup() as group:
            loading = group.create_task(load("alice"))
            await came.wait()
            loading.cancel()

    assert set(asked) == {"alice"}
    assert on_behalf.get() == ""
