"""Runs built images as Kubernetes would: as another user, from trees that nobody may write to."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.images.box import Told, started
from tests.images.build import libraries
from tests.images.dockerfile import Step, whole
from tests.servers.ports import free

READY_SECONDS: Final = 60.0
ASK_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
Answer = subprocess.CompletedProcess[str]

CALLEES: Final[Mapping[str, tuple[str, ...]]] = {
    "inference": (),
    "tool-registry": (),
    "orchestrator": ("inference", "tool-registry"),
    "workflow": ("tool-registry", "orchestrator"),
    "gateway": ("inference", "tool-registry", "orchestrator", "workflow"),
}
"""The services, and whom each calls."""
KEYS: Final = {"runplane_page_token_key": "0" * 64}
OWN: Final = {
    "inference": Told({"INFERENCE_ENGINE": "echo"}),
    "orchestrator": Told(secrets={"orchestrator_mark_key": "1" * 64}),
}
"""What only one of them is told."""


class Unwell(Exception):
    """An image does not do what it is for."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built target."""

    name: str
    root: Path
    """What stands for `/`."""
    python: Path

    @property
    def tree(self) -> Path:
        """What the image has beside its base."""
        return self.root / "app"

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets, with the paths that it has here, and what an engine adds."""
        set_by_image = environment(whole(self.name))
        return (
            {"HOME": "/"}
            | set_by_image
            | {"PYTHONPATH": str(self.tree), "PATH": str(self.python.parent)}
            | libraries(self.python)
        )

    @property
    def command(self) -> list[str]:
        """What the image runs."""
        (entry,) = [step.rest for step in whole(self.name) if step.word == "ENTRYPOINT"]
        return [str(self.python), *json.loads(entry)[1:]]

    @property
    def module(self) -> str:
        """The package that is run."""
        return self.command[2]

    def ask(self, *arguments: str, told: Told | None = None) -> Answer:
        """`python` with these arguments inside the image, to its end."""
        return self._asked([str(self.python), *arguments], told or Told())

    def run(self, *arguments: str, told: Told | None = None) -> Answer:
        """What the image runs, with these arguments, to its end."""
        return self._asked([*self.command, *arguments], told or Told())

    def _asked(self, command: list[str], told: Told) -> Answer:
        secrets = self.root / "secrets-asked"
        pipe = subprocess.PIPE
        how = {"cwd": self.tree, "stdout": pipe, "stderr": pipe, "env": self.environment}
        with started(command, told, secrets, **how) as process:
            try:
                said, complaint = process.communicate(timeout=ASK_SECONDS)
            finally:
                process.kill()
        return subprocess.CompletedProcess(command, process.returncode, said, complaint)

    @contextmanager
    def running(self, told: Told, log: Path) -> Iterator[None]:
        """The image's process; what it says goes to `log`. Ends by SIGTERM and exit code 0."""
        secrets = self.root / "secrets"
        with log.open("wb") as said:
            how = {"cwd": self.tree, "stdout": said, "stderr": said, "env": self.environment}
            process = started(self.command, told, secrets, **how)
        try:
            yield
            process.terminate()
            if (code := process.wait(STOP_SECONDS)) != 0:
                raise Unwell(f"{self.name} ended with {code}: {log.read_text()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def environment(steps: list[Step]) -> dict[str, str]:
    """What ENV sets, later ones last."""
    return {
        name: value for step in steps if step.word == "ENV" for name, value in step.pairs.items()
    }


@dataclass(frozen=True, slots=True)
class Places:
    """Where the images of one suite listen, and keep what they know."""

    listen: Mapping[str, str]
    """What callers use."""
    admin: Mapping[str, str]
    stores: Told

    def told(self, name: str) -> Told:
        """What one image's process is told."""
        prefix = name.replace("-", "_").upper()
        inner = "" if name == "gateway" else "SERVER__"
        own = {
            f"{prefix}_{inner}LISTEN": self.listen[name],
            f"{prefix}_{inner}ADMIN": self.admin[name],
            **{
                f"{prefix}_{callee.replace('-', '_').upper()}__TARGET": self.listen[callee]
                for callee in CALLEES[name]
            },
        }
        told = OWN.get(name, Told())
        if name == "gateway":  # It keeps nothing.
            return Told(own, KEYS)
        return Told(
            own | told.variables | self.stores.variables,
            KEYS | told.secrets | self.stores.secrets,
        )

    def all(self) -> Told:
        """What all of them are told together."""
        each = [self.told(name) for name in CALLEES]
        return Told(
            {k: v for told in each for k, v in told.variables.items()},
            {k: v for told in each for k, v in told.secrets.items()},
        )


def places(stores: Told) -> Places:
    """Free ports on loopback."""
    return Places(
        {name: f"127.0.0.1:{free()}" for name in CALLEES},
        {name: f"127.0.0.1:{free()}" for name in CALLEES},
        stores,
    )


def ready(image: Image, admin: str, log: Path) -> float:
    """The seconds until the image's own probe finds it ready."""
    began = time.monotonic()
    while True:
        answer = image.ask("-m", "services.chassis.probe", f"http://{admin}/readyz")
        if answer.returncode == 0:
            return time.monotonic() - began
        if time.monotonic() - began > READY_SECONDS:
            said = f"{answer.stdout}{answer.stderr}{log.read_text()[-2000:]}"
            raise Unwell(f"{image.name} is not ready: {said}")
