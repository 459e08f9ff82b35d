"""A service as a process: settings, logs, signals, exit codes. Every `__main__` is a call of it."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Never

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from services.chassis.errors import ServiceError
from services.chassis.logs import logging_to_stderr
from services.chassis.server import Running
from services.chassis.settings import LogSettings

log = logging.getLogger(__name__)

BAD_SETTINGS = 2
CANNOT_START = 1


def serve(
    name: str, load: Callable[[], tuple[LogSettings, AbstractAsyncContextManager[Running]]]
) -> None:
    """Run until SIGTERM or SIGINT, then stop within the grace period.

    `load` reads the settings. A setting that is wrong is one line and exit code 2; a start that
    fails is one line and exit code 1.
    """
    try:
        logs, running = load()
    except ValidationError as error:
        _quit(BAD_SETTINGS, name, "; ".join(_setting(error)))
    except SettingsError as error:
        _quit(BAD_SETTINGS, name, str(error))
    with logging_to_stderr(name, logs.level):
        try:
            uvloop.run(_until_signal(running))
        except (ServiceError, OSError, ExceptionGroup) as error:
            causes = _leaves(error)
            if not all(isinstance(cause, ServiceError | OSError) for cause in causes):
                raise
            _quit(CANNOT_START, name, "; ".join(map(str, causes)))


async def _until_signal(running: AbstractAsyncContextManager[Running]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running as server:
        # What start-up made lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        log.info("serving", extra={"address": server.address, "admin": server.admin})
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def _setting(error: ValidationError) -> list[str]:
    """Each fault as the variable and what is wrong with it."""
    title = error.title
    return [
        f"{title}: {'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False)
    ]


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _quit(code: int, name: str, message: str) -> Never:
    sys.stderr.write(f"{name}: {message}\n")
    raise SystemExit(code)
