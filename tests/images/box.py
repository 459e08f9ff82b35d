"""What a pod adds to an image: another user, a root that is read-only, secrets as files.

By a mount namespace of Linux, which root may make. Where it may not be made, processes run without.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

NOBODY: Final = 65532
SCRIPT: Final = Path(__file__).with_name("box.sh")


@dataclass(frozen=True, slots=True)
class Told:
    """What a pod tells its process."""

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """By the name of the file in /run/secrets."""


@cache
def is_possible() -> bool:
    """Whether this user may make a box here."""
    with tempfile.TemporaryDirectory() as folder:
        tried = [*_box(Path(folder)), "true"] if os.geteuid() == 0 else ["false"]
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def started(
    command: Sequence[str], told: Told, secrets: Path, *, env: Mapping[str, str], **how: Any
) -> "subprocess.Popen[str]":
    """A process in a box. `secrets` is a folder that is made for it."""
    variables = {**env, **told.variables}
    if not is_possible():
        said = {name.upper(): value for name, value in told.secrets.items()}
        return subprocess.Popen(command, env=variables | said, text=True, **how, **_somebody())
    shutil.rmtree(secrets, ignore_errors=True)
    secrets.mkdir(mode=0o700)
    for name, value in told.secrets.items():
        (secrets / name).write_text(value, encoding="utf-8")
    return subprocess.Popen([*_box(secrets), *command], env=variables, text=True, **how)


def _box(secrets: Path) -> list[str]:
    """What stands before a command. It ends as that command's process."""
    unshare = shutil.which("unshare") or "false"
    return [unshare, "--mount", "--propagation", "private", "/bin/sh", str(SCRIPT), str(secrets)]


def _somebody() -> dict[str, Any]:
    """Whom images run as. Only root can become somebody else."""
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}
