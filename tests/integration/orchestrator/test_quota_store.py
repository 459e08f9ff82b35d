"""Quotas on an event store, created by many at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.chassis.errors import ResourceExhausted
from services.chassis.eventlog.open import event_store
from services.orchestrator.adapters import quotastore
from services.orchestrator.adapters.quotastore import EventStoreQuotas
from services.orchestrator.domain.quota import Period, Quota, Scope


def quota(number: int) -> Quota:
    now = datetime.now(UTC)
    return Quota(
        f"q{number}",
        Scope.TENANT,
        "",
        Period.DAY,
        tokens=5.0,
        cost_usd=None,
        create_time=now,
        update_time=now,
    )


async def test_those_who_come_at_once_have_no_more_quotas_than_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotastore, "MOST", 3)
    async with event_store(f"sqlite:///{tmp_path}", service="orchestrator") as store:
        quotas = EventStoreQuotas(store, [], ttl=timedelta(0))
        outcomes = await asyncio.gather(
            *(quotas.create("t", quota(number)) for number in range(20)), return_exceptions=True
        )
        held = await quotas.of("t")

    refused = [each for each in outcomes if isinstance(each, ResourceExhausted)]
    assert (len(held), len(refused)) == (3, 17)
    assert {each.reason for each in refused} == {"TOO_MANY_QUOTAS"}
