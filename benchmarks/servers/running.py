"""Such a server, started and ended."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

import psutil

from benchmarks.servers.adding import HOST
from benchmarks.suite import POLL_SECONDS, STOP_SECONDS, Suite, seconds
from services.cli.ports import free

READY_SECONDS: Final = 30
STDIO: Final = (sys.executable, "-m", "benchmarks.servers", "stdio")
"""The command of the one that has no port."""
_taken: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens."""

    kind: str
    address: str
    """`host:port`."""
    process: psutil.Process

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that it has used."""
        return {f"{self.kind} server": seconds(self.process)}


@dataclass(frozen=True, slots=True)
class With:
    """A suite and the server that its tool runs at; without one, what the registry started."""

    suite: Suite
    server: Server | None = None

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each process has used."""
        if self.server is not None:
            return {**self.suite.cpu(), **self.server.cpu()}
        children = self.suite.processes["tool_registry"].children()
        spent = {"stdio server": sum(map(seconds, children))} if children else {}
        return {**self.suite.cpu(), **spent}


@contextmanager
def serving(kind: str, **settings: str) -> Iterator[Server]:
    """A server of this kind on a free port; `settings` are variables of its environment.

    Raises:
        RuntimeError: it does not listen.
    """
    port = free(HOST, taken=_taken)
    command = [sys.executable, "-m", "benchmarks.servers", kind, str(port)]
    process = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        began = monotonic()
        while not _listens(port):
            if process.poll() is not None or monotonic() - began > READY_SECONDS:
                raise RuntimeError(f"the {kind} server does not listen")
            sleep(POLL_SECONDS)
        yield Server(kind, f"{HOST}:{port}", psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except ConnectionError:
        return False
    return True
