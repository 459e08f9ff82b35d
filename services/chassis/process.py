"""A service as a process: settings, logs, signals, exit codes. Every `__main__` is a call of it."""

import asyncio
import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, Never

import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from services.chassis import uncaught
from services.chassis.errors import ServiceError
from services.chassis.inspection.variables import unknown
from services.chassis.logs import logging_to_stderr
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings
from services.chassis.tracing.setup import tracing

log = logging.getLogger(__name__)

BAD_SETTINGS = 2
CANNOT_START = 1
BREAK_OFF_SECONDS: Final = 5.0
"""For what a start that is broken off has to let go of."""
GC_THRESHOLDS = (20_000, 20, 20)  # Requests leave few cycles: looking each 700 objects costs 5 %.

# What pydantic says of these does not say what to write.
_MESSAGES: Final = {
    "missing": "is not set",
    "extra_forbidden": "is not known",
    "time_delta_parsing": "is not a duration such as 20, 500ms or PT20S",
}


def serve(
    name: str, load: Callable[[], tuple[ProcessSettings, AbstractAsyncContextManager[Running]]]
) -> None:
    """Run until SIGTERM or SIGINT, then stop within the grace period.

    `load` reads the settings. A setting that is wrong is one line and exit code 2; a start that
    fails is one line and exit code 1.
    """
    try:
        process, running = load()
    except ValidationError as error:
        _quit(BAD_SETTINGS, name, "; ".join(faults(error)))
    except (SettingsError, RecursionError) as error:
        _quit(BAD_SETTINGS, name, unreadable(error))
    if process.scheduling == "batch":
        _run_in_batches()  # Threads inherit it, so before there are any.
    telling = logging_to_stderr(name, process.log.level, process.log.levels)
    with telling, uncaught.told(), tracing(name, process.telemetry):
        _tell_unknown(name)
        runner, is_broken_off = asyncio.Runner(loop_factory=uvloop.new_event_loop), False
        try:
            is_broken_off = not runner.run(_until_signal(running))
        except Exception as error:
            causes = _leaves(error)
            if all(isinstance(cause, ServiceError | OSError) for cause in causes):
                _quit(CANNOT_START, name, "; ".join(map(_with_fix, causes)))
            log.exception("ended by an error that nobody caught")
            kinds = ", ".join(type(cause).__name__ for cause in causes)
            _quit(CANNOT_START, name, f"internal error ({kinds}); the log has more")
        finally:
            if not is_broken_off:
                runner.close()
    if is_broken_off:  # A thread that loads a model cannot be stopped, and would be waited for.
        os._exit(0)


async def _until_signal(running: AbstractAsyncContextManager[Running]) -> bool:
    """Whether it came to serve; a signal breaks a start off."""
    loop, starting = asyncio.get_running_loop(), asyncio.current_task()
    loop.set_exception_handler(uncaught.of_loop)
    stop, serves = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        stop.set()
        if not serves.is_set() and starting is not None:
            log.info("stopping before it serves")
            starting.cancel()
            loop.call_later(BREAK_OFF_SECONDS, os._exit, 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    try:
        async with running as server:
            serves.set()
            # What start-up made lives as long as the process: it need not be looked at again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            log.info("serving", extra={"address": server.address, "admin": server.admin})
            await stop.wait()
            log.info("stopping")
    except asyncio.CancelledError:
        if serves.is_set() or not stop.is_set():
            raise
    log.info("stopped")
    return serves.is_set()


def _run_in_batches() -> None:
    """Ask the kernel not to interrupt this process for each that wakes up (docs/decisions/0005).

    Another scheduling policy that somebody chose is left alone, and so is a refusal.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _tell_unknown(name: str) -> None:
    """Say which variables nothing reads: they were meant to change something."""
    prefixes = ("RUNPLANE_", f"{name.upper()}_")
    ours = [each for each in os.environ if each.upper().startswith(prefixes)]
    for each in unknown(ours, list(_all_settings(BaseSettings))):
        log.warning(
            "a variable is not known, and changes nothing",
            extra={"variable": each.name, "nearest": each.nearest},
        )


def faults(error: ValidationError) -> list[str]:
    """Each fault as the environment variable and what is wrong with it."""
    return [
        f"{_variable(error.title, each['loc'])}: {_MESSAGES.get(each['type'], _said(each))}"
        for each in error.errors(include_input=False, include_url=False)
    ]


def _said(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")


def unreadable(error: SettingsError | RecursionError) -> str:
    """A variable that has to hold JSON and does not. Only the error's text names the field."""
    if isinstance(error, RecursionError):
        return "a setting holds JSON that is nested too deeply"
    field = re.search(r'field "(\w+)"', str(error))
    return f"{_variable('', (field[1],))}: is not JSON" if field else str(error)


def _variable(title: str, location: tuple[str | int, ...]) -> str:
    """The variable that sets what lies at `location` of the settings called `title`."""
    if not location:
        return title
    for settings in _all_settings(BaseSettings):
        config = settings.model_config
        if title in {"", settings.__name__} and location[0] in settings.model_fields:
            delimiter = config.get("env_nested_delimiter") or "__"
            path = delimiter.join(map(str, location))
            return f"{config.get('env_prefix', '')}{path}".upper()
    return ".".join(map(str, location))


def _all_settings(base: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for settings in base.__subclasses__():
        yield settings
        yield from _all_settings(settings)


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _with_fix(error: Exception) -> str:
    """What went wrong, and what to do where the error knows."""
    fix = error.metadata.get("suggested_fix") if isinstance(error, ServiceError) else None
    return f"{error} ({fix})" if fix else str(error)


def _quit(code: int, name: str, message: str) -> Never:
    sys.stderr.write(f"{name}: {message}\n")
    raise SystemExit(code)
