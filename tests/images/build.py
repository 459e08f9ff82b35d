"""Carries out the Dockerfile's own steps in a folder.

A stage is a folder there, and COPY and RUN happen inside it. What an engine would add (layers, the
base image's files) is not made.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.images.context import is_let_in
from tests.images.dockerfile import ROOT, Step, argument, filled, ours

INSTALL_SECONDS: Final = 600
_BESIDE: Final = ("pip",) if sys.version_info >= (3, 11, 3) else ("pip", "async_timeout")
"""What a base has beside Python: images are locked for one that has asyncio.timeout."""
_LEFT_OUT: Final = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "idlelib", "tkinter", "config-*"
)


def base_python(into: Path) -> Path:
    """A Python of its own with pip and nothing else, as a base image has it.

    It is copied: the one that runs this may be where other users cannot go.
    """
    library = Path(sysconfig.get_path("stdlib"))
    copied = into / "lib" / library.name
    shutil.copytree(library, copied, ignore=_LEFT_OUT, symlinks=True)
    for shared in Path(sys.base_prefix, "lib").glob("libpython*"):
        shutil.copy(shared, into / "lib")
    python = into / "bin" / "python"
    python.parent.mkdir()
    shutil.copy(Path(sys.executable).resolve(), python)
    _give(python, _BESIDE)
    return python


def _give(python: Path, names: Iterable[str]) -> None:
    """Copy packages that this process has to where a Python looks for them.

    It is asked where: Debian's does not look in site-packages.
    """
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    answer = subprocess.run(
        ask, env=libraries(python), check=True, stdout=subprocess.PIPE, text=True
    )
    ours, theirs = Path(sysconfig.get_path("purelib")), Path(answer.stdout.strip())
    for name in names:
        for found in [ours / name, *ours.glob(f"{name}-*.dist-info")]:
            shutil.copytree(found, theirs / found.name)


def libraries(python: Path) -> dict[str, str]:
    """What a copied Python needs set, to find its own library and not the system's."""
    return {"LD_LIBRARY_PATH": str(python.parents[1] / "lib")}


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds stages below `prefix`, each once."""

    prefix: Path
    python: Path
    arguments: dict[str, str] = field(default_factory=dict)
    """As `--build-arg`."""

    def build(self, name: str) -> Path:
        """The folder that stands for `/` in the stage, with what COPY and RUN put there."""
        root = self.prefix / name
        if not root.exists():
            root.mkdir()
            stage = ours()[name]
            if stage.base in ours():
                shutil.copytree(self.build(stage.base), root, dirs_exist_ok=True, symlinks=True)
            self._follow(stage.steps, root)
        return root

    def _follow(self, steps: tuple[Step, ...], root: Path) -> None:
        here, values = root, {}
        for step in steps:
            if step.word == "ARG":
                default = argument(step.rest)
                values |= default | {k: v for k, v in self.arguments.items() if k in default}
            elif step.word == "WORKDIR":
                here = _inside(root, root, step.rest)
                here.mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY":
                self._copy(filled(step.rest, values), root, here)
            elif step.word == "RUN":
                self._run(step.rest, here, values)

    def _copy(self, rest: str, root: Path, here: Path) -> None:
        *sources, into = rest.split()
        context = ROOT
        if sources[0].startswith("--from="):
            context = self.build(sources.pop(0).removeprefix("--from="))
        target = _inside(root, here, into)
        for source in sources:
            found = context / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(
                    found, target, symlinks=True, dirs_exist_ok=True, ignore=_ignored(context)
                )
            else:
                shutil.copy2(found, target)

    def _run(self, command: str, here: Path, values: dict[str, str]) -> None:
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        subprocess.run(
            ["sh", "-c", command],
            cwd=here,
            env=kept | values | {"PATH": path} | libraries(self.python),
            check=True,
            timeout=INSTALL_SECONDS,
        )


def _ignored(context: Path) -> Callable[[str, list[str]], set[str]] | None:
    """What COPY does not find in the context, for it is not sent."""
    if context != ROOT:
        return None
    return lambda folder, names: {
        name for name in names if not is_let_in(str(Path(folder, name).relative_to(ROOT)))
    }


def _inside(root: Path, here: Path, path: str) -> Path:
    return root / path.lstrip("/") if path.startswith("/") else here / path
