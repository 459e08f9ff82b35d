"""What `runplane doctor` looks at on this machine: versions, limits, room, and who is up."""

import asyncio
import platform
import re
import resource
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from services.chassis.inspection.checks.events import writable
from services.chassis.inspection.checks.ports import disk
from services.chassis.inspection.finding import Finding, doubtful, fine, wrong
from services.cli.state import StateFolder

FILES: Final = 4_096
SECONDS: Final = 3.0
PYTHON: Final = (3, 11)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(?:(>=|==)([\d.]+))?(.*)")


def machine(state: Path | None) -> Iterator[Finding]:
    """This machine, and the folder of a suite where there is one."""
    yield _python()
    yield from _packages()
    yield _files()
    if state is not None:
        yield from _state(state)


def _state(folder: Path) -> Iterator[Finding]:
    if (obstacle := writable("state", folder)) is not None:
        yield obstacle
        return
    yield fine("state", f"{folder} can be used")
    yield disk("disk", folder)


def _python() -> Finding:
    said = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) < PYTHON:
        return wrong("python", said, f"use Python {'.'.join(map(str, PYTHON))} or newer")
    return fine("python", said)


def _packages() -> Iterator[Finding]:
    faults = [fault for each in requires("runplane") or () if (fault := _lacking(each))]
    for fault in faults:
        yield wrong("packages", fault, "install this version's own: make install")
    if not faults:
        yield fine("packages", f"runplane {version('runplane')} has what it needs")


def _lacking(requirement: str) -> str:
    """What is wrong with a package that is needed whatever is installed beside it."""
    found = _REQUIREMENT.match(requirement)
    if found is None or ";" in requirement:
        return ""
    name, operator, wanted = found[1], found[2], found[3]
    try:
        there = version(name)
    except PackageNotFoundError:
        return f"{name} is missing"
    is_fit = not operator or (
        _numbers(there) >= _numbers(wanted) if operator == ">=" else there == wanted
    )
    return "" if is_fit else f"{name} is {there}, not {operator}{wanted}"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text)[:3])


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_unbounded = soft == resource.RLIM_INFINITY
    said = f"a process may have {'any number of' if is_unbounded else soft} files open"
    if is_unbounded or soft >= FILES:
        return fine("files", said)
    return doubtful(
        "files", said, f"each connection is one: ulimit -n {max(FILES, min(hard, 65536))}"
    )


def admin_ports(state: Path) -> Mapping[str, str]:
    """Where the processes of a running suite say how they are; empty where none runs."""
    run = StateFolder(state).run()
    try:
        if all(Path(f"/proc/{int(pid)}").exists() for pid in run["pids"].values()):
            return {str(name): str(where) for name, where in run["admin"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    return {}


async def health(name: str, admin: str) -> Finding:
    """Whether a process is ready, as it says on its admin port."""
    host, _, port = admin.rpartition(":")
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: doctor\r\nconnection: close\r\n\r\n")
                status = (await reader.readline()).decode(errors="replace").split()
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        fix = "see its lines in the state folder's logs, and restart it"
        return wrong("health", f"{name} does not answer at {admin} ({type(error).__name__})", fix)
    if status[1:2] != ["200"]:
        fix = "see its lines in the state folder's logs"
        return wrong("health", f"{name} is not ready", fix)
    return fine("health", f"{name} is ready")
