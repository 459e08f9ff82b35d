"""A service in a process of its own, for `test_chassis_process`."""

import asyncio
import gc
import sys
import threading
import time
import warnings
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
    fails: str = ""
    """Where: nobody catches it."""


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    settings = Settings()
    return SharedSettings(), loaded(settings.loading_seconds, settings.server, settings.fails)


def fail() -> None:
    """With an error whose text quotes a prompt."""
    int("a prompt")


class Finalized:
    """Fails when it is let go of."""

    def __del__(self) -> None:
        """Fail."""
        fail()


async def fail_in(place: str) -> None:
    """Fail where nobody catches it."""
    loop = asyncio.get_running_loop()
    if place == "start":
        fail()
    elif place == "callback":
        loop.call_soon(fail)
    elif place == "task":
        await asyncio.wait([loop.create_task(asyncio.to_thread(fail))])
    elif place == "thread":
        (thread := threading.Thread(target=fail)).start()
        thread.join()
    elif place == "warning":
        warnings.warn("invalid literal: a prompt", UserWarning, stacklevel=1)
    elif place == "finalizer":
        Finalized()
    await asyncio.sleep(0)
    gc.collect()


@asynccontextmanager
async def loaded(seconds: float, server: ServerSettings, fails: str) -> AsyncIterator[Running]:
    """It serves once something is loaded that cannot be interrupted."""
    await fail_in(fails)
    if seconds:
        sys.stderr.write("loading\n")
        await asyncio.to_thread(time.sleep, seconds)
    async with serving_tools(settings=server) as running:
        yield running


if __name__ == "__main__":
    serve("tester", load)
