"""The version before this one: its code, and suites of which a part runs it."""

import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.replicas import KEY, PACE, ROOT, Process, started
from tests.e2e.running import UNCACHED
from tests.servers.ports import free

CODE = ("services", "gateway", "protos/gen")


def earlier_code(folder: Path) -> Path:
    """The code that this work started from, as `tests/checks/before.sh` has it.

    Where there is none, in a shallow clone say, this version stands for it: the suites run all the
    same.
    """
    found = subprocess.run(
        ["sh", ROOT / "tests/checks/before.sh"], cwd=ROOT, capture_output=True, check=False
    )
    if not (commit := found.stdout.decode().strip()):
        return ROOT
    archive = subprocess.run(
        ["git", "archive", commit, *CODE], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def imported(root: Path) -> Path:
    """Where a process that has its code there finds it."""
    line = [sys.executable, "-c", "import services; print(services.__file__)"]
    path = f"{root}:{root / 'protos' / 'gen'}"
    found = subprocess.run(
        line, cwd=root, env={"PYTHONPATH": path}, capture_output=True, check=True
    )
    return Path(found.stdout.decode().strip())


@dataclass
class Mixed:
    """Processes by name, the gateway among them."""

    processes: Mapping[str, Process]

    @property
    def url(self) -> str:
        """The edge."""
        return f"http://{self.processes['gateway'].address}"


@contextmanager
def mixed(folder: Path, earlier: Path, names: Collection[str]) -> Iterator[Mixed]:
    """A suite of which the processes with these names are of the earlier version."""

    def process(name: str, **settings: str) -> Process:
        port, admin = (free() for _ in range(2))
        made = Process(name, settings, port, admin, folder / f"{name}.log")
        made.root = earlier if name in names else ROOT
        return made

    inference, registry = process("inference", **PACE), process("tool_registry")
    orchestrator = process(
        "orchestrator",
        ORCHESTRATOR_INFERENCE__TARGET=inference.address,
        ORCHESTRATOR_TOOL_REGISTRY__TARGET=registry.address,
        ORCHESTRATOR_MARK_KEY=KEY,
        RUNPLANE_EVENT_STORE=f"sqlite:///{folder / 'data'}",
        **UNCACHED,
    )
    gateway = process(
        "gateway",
        GATEWAY_INFERENCE__TARGET=inference.address,
        GATEWAY_TOOL_REGISTRY__TARGET=registry.address,
        GATEWAY_ORCHESTRATOR__TARGET=orchestrator.address,
    )
    processes = [inference, registry, orchestrator, gateway]
    with started(processes):
        yield Mixed({each.name: each for each in processes})
