"""The state folder of a suite: keys, logs and `run.json`, which says where it listens."""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

DEFAULT = ".runplane"
MOST_BYTES: Final = 1024 * 1024
"""Of what a suite announces."""


class StateFolder:
    """One suite's folder. `held` makes it this process's alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other suites out while the context is open.

        Raises:
            ClickException: another suite uses the folder, or it cannot be written.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise click.ClickException(f"cannot use {self.path}: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise click.ClickException(
                    f"a suite already runs with {self.path}; stop it, or choose another folder: "
                    "runplane up --state DIR --port N"
                ) from None
            try:
                yield
            finally:
                (self.path / "run.json").unlink(missing_ok=True)

    @property
    def event_store(self) -> str:
        """The URL of the SQLite files in this folder."""
        return f"sqlite:///{self.path.absolute() / 'data'}"

    @property
    def object_store(self) -> str:
        """The URL of the folder for large values in this folder."""
        return (self.path.absolute() / "objects").as_uri()

    @property
    def models(self) -> Path:
        """The folder of models in this folder."""
        return self.path.absolute() / "models"

    def key(self, name: str) -> str:
        """A secret of 32 bytes in hexadecimal, made at its first use."""
        path = self.path / "keys" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
        return path.read_text().strip()

    def announce(self, run: Mapping[str, object]) -> None:
        """Say where the suite listens."""
        fresh = self.path / "run.json.new"
        fresh.write_text(json.dumps(run, indent=2) + "\n")
        fresh.replace(self.path / "run.json")

    def run(self) -> Mapping[str, Any]:
        """What the suite that runs here has announced; nothing where none has, or where that is no
        file of ours, such as a pipe that nobody writes to."""
        try:
            with open(self.path / "run.json", "rb", opener=_unblocked) as file:
                is_plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                found = json.loads(file.read(MOST_BYTES)) if is_plain else None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def url(self) -> str | None:
        """Where the running suite's edge listens, if one runs."""
        url = self.run().get("url")
        return url if isinstance(url, str) else None


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
