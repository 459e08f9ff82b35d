"""Looks at all that a service needs, all at once, each within its time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from services.chassis.errors import ServiceError
from services.chassis.inspection.checks.events import event_store
from services.chassis.inspection.checks.others import event_bus, hot_store, object_store
from services.chassis.inspection.checks.ports import port
from services.chassis.inspection.effective import unread_files
from services.chassis.inspection.finding import Finding, doubtful, fine, refused, wrong
from services.chassis.inspection.service import Reading, Service, read, sources
from services.chassis.settings import SharedSettings

SECONDS: Final = 8.0
"""For each check."""

_WITHOUT: Final[Mapping[str, frozenset[str]]] = {
    "hot store": frozenset({"tool_registry"}),
    "object store": frozenset({"inference", "tool_registry", "workflow"}),
}
"""Services that use none, by the check of what all are told of: their images have no driver."""

Check = Callable[[], Awaitable[Sequence[Finding]]]


async def checked(of: Service, *, is_running: bool) -> list[Finding]:
    """What is found. Ports of a service that runs are its own, and are not looked at."""
    reading = read(of)
    found = list(_of_settings(of, reading))
    if reading.faults:
        return found
    checks = {**_of_stores(of, reading.shared), **_of_service(of, reading.own)}
    if not is_running:
        checks = {"port": partial(_ports, list(_listens(of, reading.own))), **checks}
    results = await asyncio.gather(
        *(
            _within(name, each, is_used=of.name not in _WITHOUT.get(name, ()))
            for name, each in checks.items()
        )
    )
    return [*found, *(each for result in results for each in result)]


def _of_settings(of: Service, reading: Reading) -> Iterator[Finding]:
    for fault in reading.faults:
        name, _, problem = fault.partition(": ")
        yield wrong("settings", fault, f"set {name}; it {problem}" if problem else "mend it")
    for each in reading.unknown:
        yield doubtful("settings", each.problem, each.fix)
    for name in unread_files(sources().secrets, of.kinds):
        fix = "only whole fields are read from secret files: set the variable, or the whole group"
        yield doubtful("settings", f"the secret file {name} is read by nothing", fix)
    if not reading.faults:
        yield fine("settings", "can be read")


def _of_stores(of: Service, shared: Any) -> Mapping[str, Check]:
    if not isinstance(shared, SharedSettings):
        return {}
    kafka = shared.kafka
    buses = {**shared.event_buses, "events": shared.event_bus} if of.name == "workflow" else {}
    secret = kafka.password.get_secret_value()
    return {
        "event store": lambda: event_store(shared.event_store, of.name, migrates=shared.migrates),
        "hot store": lambda: hot_store(shared.hot_store),
        "object store": lambda: object_store(shared.object_store, shared.aws),
        **{
            f"event bus {alias}": lambda alias=alias, url=url: event_bus(  # type: ignore[misc]
                alias, url, kafka.username, secret
            )
            for alias, url in buses.items()
        },
    }


def _of_service(of: Service, own: Any) -> Mapping[str, Check]:
    """What only the service itself knows: its `checks` module, if it has one."""
    name = f"{of.module}.checks"
    if find_spec(name) is None:
        return {}
    return {of.name: lambda: import_module(name).checks(own)}


def _listens(of: Service, own: Any) -> Iterable[tuple[str, str]]:
    where, prefix = (own, "") if hasattr(own, "listen") else (own.server, "SERVER__")
    for name in ("listen", "admin"):
        if not (listen := getattr(where, name)).endswith(":0"):
            yield f"{of.name.upper()}_{prefix}{name.upper()}", listen


async def _ports(listens: Sequence[tuple[str, str]]) -> Sequence[Finding]:
    """A name is looked up, which may take its time."""
    return [await asyncio.to_thread(port, *each) for each in listens]


async def _within(name: str, check: Check, *, is_used: bool = True) -> Sequence[Finding]:
    looking = asyncio.ensure_future(check())
    try:
        await asyncio.wait([looking], timeout=SECONDS)
        if looking.done():
            return await looking
        fix = "see whether it is overloaded, or whether a firewall swallows what is sent"
        return [wrong(name, f"nothing was heard within {SECONDS:.0f} s", fix)]
    except ServiceError as error:
        return [refused(name, error)]
    except ModuleNotFoundError as error:
        return [_lacking(name, error.name, is_used=is_used)]
    except OSError as error:
        return [wrong(name, str(error), "let this user reach it, or name another")]
    except Exception as error:  # noqa: BLE001 - its words may hold a secret, and others count too
        fix = "look at the settings that name it"
        return [wrong(name, f"it cannot be looked at ({type(error).__name__})", fix)]
    finally:
        looking.cancel()  # How long it takes to clean up is waited for by nobody.


def _lacking(name: str, module: str | None, *, is_used: bool) -> Finding:
    if not is_used:  # An image holds what its service uses.
        return fine(name, f"is not used here: there is no {module}")
    fix = "install this version again, with all that it needs"
    return wrong(name, f"it cannot be used: there is no {module}", fix)
