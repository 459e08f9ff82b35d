"""A service in a process of its own, for `test_chassis_process`."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, ServerSettings, SharedSettings
from tests.integration.chassis.fakes import serving_tools


class Settings(BaseSettings):
    """`TESTER_…`."""

    model_config = SettingsConfigDict(env_prefix="TESTER_", env_nested_delimiter="__", frozen=True)

    server: ServerSettings = ServerSettings()
    slots: int = Field(1, ge=1, le=4)
    loading_seconds: float = 0.0


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    settings = Settings()
    return SharedSettings(), loaded(settings.loading_seconds, settings.server)


@asynccontextmanager
async def loaded(seconds: float, server: ServerSettings) -> AsyncIterator[Running]:
    """It serves once something is loaded that cannot be interrupted."""
    if seconds:
        sys.stderr.write("loading\n")
        await asyncio.to_thread(time.sleep, seconds)
    async with serving_tools(settings=server) as running:
        yield running


if __name__ == "__main__":
    serve("tester", load)
