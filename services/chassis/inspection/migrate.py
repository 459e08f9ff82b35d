"""Brings the schema of a service up to date, or says how far it is."""

import sqlite3
from typing import Any, Final

from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.errors import ServiceError
from services.chassis.eventlog.migrations import Steps, brought_up, looked_at
from services.chassis.inspection.effective import masked
from services.chassis.settings import SECRETS, EventStoreUrl

NONE: Final = "memory: has no schema; set RUNPLANE_EVENT_STORE"


class StoreSettings(BaseSettings):
    """All that is needed: no key, and nothing else of the service."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPLANE_",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
        extra="ignore",
    )

    event_store: EventStoreUrl = "memory:"


async def migrated(service: str, url: str, *, only_looks: bool = False) -> dict[str, Any]:
    """What was applied and is pending, as JSON has it; `faults` say why it could not be done."""
    answer = {"store": masked(url), "applied": 0, "before": 0, "known": 0, "faults": []}
    try:
        before = await looked_at(url, service)
        if before is None:
            return {**answer, "faults": [NONE]}
        if before.pending and not only_looks:
            await brought_up(url, service)
        after = before if only_looks else await looked_at(url, service)
    except _failures() as error:
        return {**answer, "faults": [f"{masked(url)}: {_words(error)}"]}
    return {**answer, **_told(before, after or before)}


def _told(before: Steps, after: Steps) -> dict[str, int]:
    return {"before": before.applied, "applied": after.applied, "known": after.known}


def _failures() -> tuple[type[Exception], ...]:
    import asyncpg  # noqa: PLC0415 - with its errors at hand

    postgres = (asyncpg.PostgresError, asyncpg.InterfaceError)
    return (*postgres, sqlite3.Error, ServiceError, OSError, TimeoutError, ValueError)


def _words(error: Exception) -> str:
    """A URL that cannot be parsed may be in the words, with its password."""
    return "is no URL of a store" if type(error) is ValueError else str(error)[:300]
