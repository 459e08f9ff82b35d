"""Runs built images as Kubernetes would: as another user, from trees that nobody may write to."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.images.build import libraries
from tests.images.dockerfile import Step, whole
from tests.servers.ports import free

NOBODY: Final = 65532
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
CALLEES: Final[Mapping[str, tuple[str, ...]]] = {
    "inference": (),
    "tool-registry": (),
    "orchestrator": ("inference", "tool-registry"),
    "workflow": ("tool-registry", "orchestrator"),
    "gateway": ("inference", "tool-registry", "orchestrator", "workflow"),
}
"""The services, and whom each calls."""
SETTINGS: Final = {
    "RUNPLANE_PAGE_TOKEN_KEY": "0" * 64,
    "ORCHESTRATOR_MARK_KEY": "1" * 64,
    "INFERENCE_ENGINE": "echo",
}


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
        """What the image sets, with the paths that it has here."""
        set_by_image = environment(whole(self.name))
        return (
            set_by_image
            | {"PYTHONPATH": str(self.tree), "PATH": str(self.python.parent)}
            | libraries(self.python)
        )

    @property
    def command(self) -> list[str]:
        """What the image runs."""
        (entry,) = [step.rest for step in whole(self.name) if step.word == "ENTRYPOINT"]
        return [str(self.python), *json.loads(entry)[1:]]

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python` with these arguments inside the image, to its end."""
        return subprocess.run(
            [str(self.python), *arguments],
            env=self.environment,
            cwd=self.tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
            **_somebody(),
        )

    @contextmanager
    def running(self, settings: Mapping[str, str], log: Path) -> Iterator[None]:
        """The image's process; what it says goes to `log`. Ends by SIGTERM and exit code 0."""
        with log.open("wb") as said:
            process = subprocess.Popen(
                self.command,
                env=self.environment | dict(settings),
                cwd=self.tree,
                stdout=said,
                stderr=said,
                **_somebody(),
            )
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


def _somebody() -> dict[str, Any]:
    """Whom images run as. Only root can become somebody else."""
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the images of one suite listen: `listen` is what callers use."""

    listen: Mapping[str, str]
    admin: Mapping[str, str]

    def settings(self, name: str) -> dict[str, str]:
        """The settings of one image's process."""
        prefix = name.replace("-", "_").upper()
        inner = "" if name == "gateway" else "SERVER__"
        return SETTINGS | {
            f"{prefix}_{inner}LISTEN": self.listen[name],
            f"{prefix}_{inner}ADMIN": self.admin[name],
            **{
                f"{prefix}_{callee.replace('-', '_').upper()}__TARGET": self.listen[callee]
                for callee in CALLEES[name]
            },
        }


def places() -> Places:
    """Free ports on loopback."""
    return Places(
        {name: f"127.0.0.1:{free()}" for name in CALLEES},
        {name: f"127.0.0.1:{free()}" for name in CALLEES},
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
