"""Addresses of names, asked of the system in threads: a name that takes long holds up few others.

A question cannot be taken back. So its thread keeps its place until there is an answer, a tenant
has only so many places, and no thread is waited for at exit.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.chassis.context import current

SECONDS: Final = 5.0
"""How long a name waits for its place, and whoever needs it for an answer."""

on_behalf: ContextVar[str] = ContextVar("lookups_on_behalf", default="")
"""The tenant of what runs beside requests; empty: the request's."""

Ask = Callable[[str, int], Sequence[str]]
_Flight: TypeAlias = "asyncio.Task[Sequence[str]]"


class TooManyNames(OSError):
    """A tenant asks for more names at once than it may."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many names are asked for at a time."""

    total: int = 64
    of_tenant: int = 8
    waiting: int = 64
    """Of a tenant, those under way included."""


class _Share:
    """What a tenant has of the places."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.names = 0


class SystemLookup:
    """Asks the system; a name that is asked for already is not asked twice.

    It owns the tasks of its questions, which outlive those who ask: each is among its flights until
    it lands, and `close` ends those that have not.
    """

    def __init__(self, ask: Ask | None = None, places: Places | None = None) -> None:
        self._ask = ask or _addresses
        self._places = places or Places()
        self._all = asyncio.Semaphore(self._places.total)
        self._shares: dict[str, _Share] = {}
        self._flights: dict[tuple[str, str, int], _Flight] = {}
        self._is_closed = False

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host. Raises OSError; `TooManyNames` is one."""
        if self._is_closed:
            raise OSError("no names are asked for any more")
        key = (_tenant(), host, port)
        if (flight := self._flights.get(key)) is None:
            flight = self._begun(key)
        await asyncio.wait((flight,))  # Being cancelled, it leaves the flight to others.
        if flight.cancelled():
            raise OSError("no names are asked for any more")
        return flight.result()

    async def close(self) -> None:
        """Let nobody wait any more. Threads that still do are left alone."""
        self._is_closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _begun(self, key: tuple[str, str, int]) -> _Flight:
        share = self._shares.setdefault(key[0], _Share(self._places.of_tenant))
        if share.names >= self._places.waiting:
            raise TooManyNames("too many names are asked for at a time")
        share.names += 1
        flight = asyncio.get_running_loop().create_task(self._asked(key, share))
        self._flights[key] = flight

        def landed(flight: _Flight) -> None:
            del self._flights[key]
            share.names -= 1
            if not share.names:
                del self._shares[key[0]]
            if not flight.cancelled():
                flight.exception()  # Whoever asked may be gone.

        flight.add_done_callback(landed)
        return flight

    async def _asked(self, key: tuple[str, str, int], share: _Share) -> Sequence[str]:
        async with asyncio.timeout(SECONDS) as timer, share.places, self._all:
            timer.reschedule(None)
            return await _in_a_thread(self._ask, *key[1:])


def _tenant() -> str:
    here = current.get(None)
    return on_behalf.get() or (here.principal.tenant if here is not None else "")


async def _in_a_thread(ask: Ask, host: str, port: int) -> Sequence[str]:
    """What is answered, in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(found: Sequence[str] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def work() -> None:
        found: Sequence[str] | OSError
        try:
            found = ask(host, port)
        except OSError as error:
            found = error
        except ValueError as error:  # No name at all, such as one of 300 letters.
            found = OSError(str(error))
        with suppress(RuntimeError):  # The loop is closed.
            loop.call_soon_threadsafe(settle, found)

    try:
        threading.Thread(target=work, name="lookup", daemon=True).start()
    except RuntimeError as error:  # There are no more threads.
        raise OSError(str(error)) from None
    return await answer


def _addresses(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
