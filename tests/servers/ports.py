"""Ports for servers that tests start, stop and start again."""

import atexit
import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from services.cli.ports import is_free

HOST: Final = "127.0.0.1"
SUITE: Final = 10  # The edge's port, and those of the services next to it.

_LOWEST: Final = 10_000
_HIGHEST: Final = 65_535
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL: Final = "32768 60999"  # Other systems begin higher still.
_TRIES: Final = 1_000

_kept = ExitStack()
atexit.register(_kept.close)


def free(count: int = 1) -> int:
    """The first of so many ports in a row, as `reserved` has them, until this process ends."""
    return _kept.enter_context(reserved(count))


@contextmanager
def reserved(count: int) -> Iterator[int]:
    """The first of so many ports in a row, which nobody else is given until the context is left.

    Other tests run at the same time, in processes of their own. The system gives none of these
    ports to a server that names none (they are not of those it picks from), and a locked file for
    each keeps them from whoever asks here.
    """
    ports = beyond_the_systems()
    for _ in range(_TRIES):
        first = ports.start + secrets.randbelow(len(ports) - count + 1)
        with ExitStack() as stack:
            if all(_is_held(stack, port) for port in range(first, first + count)):
                yield first
                return
    raise OSError(f"no {count} ports in a row are free within {ports}")


def beyond_the_systems() -> range:
    """Ports that the system gives to nobody who does not name them."""
    said = _EPHEMERAL.read_text() if _EPHEMERAL.exists() else _USUAL
    lowest, highest = map(int, re.findall(r"\d+", said))
    below, above = range(_LOWEST, lowest), range(highest + 1, _HIGHEST + 1)
    return max(below, above, key=len)


def _is_held(stack: ExitStack, port: int) -> bool:
    """Whether this port is the stack's now: the system lets go of the lock with the process."""
    folder = Path(tempfile.gettempdir()) / f"runplane-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = stack.enter_context((folder / str(port)).open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return is_free(HOST, port)
