"""Asks each service, as a process of its own, what its settings are and what they lead to."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from services.chassis.inspection.effective import names_in
from services.chassis.settings import SECRETS
from services.cli.state import StateFolder
from services.cli.suite import MODULES, Options, planned, programs
from services.cli.supervisor import python

KEY: Final = "RUNPLANE_PAGE_TOKEN_KEY"
OF_UP: Final = "runplane up"
NOT_MADE: Final = "0" * 64
"""A key that `runplane up` would make. It is never shown."""
PATIENCE_SECONDS: Final = 30.0

Environment = Mapping[str, str | None]
"""None: the variable is not there, whatever this process has."""
Answer = dict[str, Any]


def environments(state: Path, chosen: Sequence[str]) -> dict[str, Environment]:
    """What each service is told beside this process's environment.

    Where the suite's key is set, nothing is: these are the settings of a cluster. Else it is what a
    suite of this folder is told that runs, or what `runplane up` would tell it.
    """
    if is_cluster():
        return {name: {} for name in chosen}
    folder = StateFolder(state)
    told = _running(folder) or _planned(folder)
    return {name: told[name] for name in chosen}


def is_cluster() -> bool:
    """Whether the environment says all that services are told."""
    files = {name.upper() for name in names_in(SECRETS)}
    return KEY in files | {name.upper() for name in os.environ}


def _running(folder: StateFolder) -> dict[str, Environment] | None:
    """What the processes of a running suite were started with, where the system lets us see."""
    try:
        pids = folder.run()["pids"]
        return {name: _of_process(int(pids[name])) for name in MODULES}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _of_process(pid: int) -> Environment:
    text = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
    pairs = (each.partition("=") for each in text.split("\0") if "=" in each)
    there = {name: value for name, _, value in pairs}
    if KEY not in there:
        raise ValueError("it is no process of a suite")
    names = {*there, *os.environ}
    return {name: there.get(name) for name in names if os.environ.get(name) != there.get(name)}


def _planned(folder: StateFolder) -> dict[str, Environment]:
    """What `runplane up` would tell, without options of its own."""
    given = os.environ
    store = given.get("RUNPLANE_EVENT_STORE") or folder.event_store
    large = "memory:" if store == "memory:" else folder.object_store
    models = given.get("INFERENCE_MODELS")
    options = Options(
        given.get("INFERENCE_ENGINE", "" if models else "llamacpp"),
        None,
        given.get("RUNPLANE_LOG__LEVEL", "info"),
        page_token_key=NOT_MADE,
        mark_key=NOT_MADE,
        event_store=store,
        hot_store=given.get("RUNPLANE_HOT_STORE") or "memory:",
        event_bus=given.get("RUNPLANE_EVENT_BUS") or "memory:",
        object_store=given.get("RUNPLANE_OBJECT_STORE") or large,
        models_dir=Path(given.get("INFERENCE_MODELS_DIR") or folder.models).absolute(),
    )
    plan = planned("127.0.0.1", 8080)
    told: dict[str, Mapping[str, str]] = {
        each.name: each.environment for each in programs(plan, options)
    }
    # What is set already is not what `up` adds.
    return {
        name: {key: value for key, value in each.items() if given.get(key) != value}
        for name, each in told.items()
    }


async def asked(
    command: str, told: Mapping[str, Environment], *, patience: float = PATIENCE_SECONDS
) -> dict[str, Answer]:
    """What each service says of itself. One that cannot be asked says so as a fault."""
    if sys.stderr.isatty():  # It takes seconds, and whoever sits there wonders.
        click.echo(f"asking {len(told)} service{'s' if len(told) > 1 else ''} …", err=True)
    answers = await asyncio.gather(
        *(_answer([MODULES[name], command], extra, patience) for name, extra in told.items())
    )
    return dict(zip(told, answers, strict=True))


async def _answer(arguments: Sequence[str], extra: Environment, patience: float) -> Answer:
    try:
        process = await asyncio.create_subprocess_exec(
            *python("services.chassis.inspection"),
            *arguments,
            env={k: value for k, value in {**os.environ, **extra}.items() if value is not None},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:  # What it would be told may be more than the system lets through.
        return {"faults": [f"it cannot be asked: {error.strerror}"]}
    try:
        async with asyncio.timeout(patience):
            said, complaint = await process.communicate()
        answer: Answer = json.loads(said)
    except TimeoutError:
        return {"faults": [f"it did not answer within {patience:.0f} s"]}
    except ValueError:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return {"faults": [lines[-1][:500]]}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer
