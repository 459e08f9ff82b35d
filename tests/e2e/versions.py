"""The version before this one: its code, and suites of which a part runs it."""

import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from signal import Signals

from tests.e2e.replicas import KEY, PACE, ROOT, Process, started
from tests.e2e.replicas import SOON as SOON_TASKS
from tests.e2e.running import UNCACHED
from tests.e2e.workflows import ROOM, SOON
from tests.servers.ports import free

CODE = ("services", "gateway", "protos/gen")


def earlier_code(folder: Path) -> Path:
    """The code that this work started from, as `tests/checks/before.sh` has it, or of the commit
    that `RUNPLANE_TEST_EARLIER` names.

    Where there is none, in a shallow clone say, this version stands for it: the suites run all the
    same.
    """
    if not (commit := environ.get("RUNPLANE_TEST_EARLIER") or _before()):
        return ROOT
    archive = subprocess.run(
        ["git", "archive", commit, *CODE], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _before() -> str:
    found = subprocess.run(
        ["sh", ROOT / "tests/checks/before.sh"], cwd=ROOT, capture_output=True, check=False
    )
    return found.stdout.decode().strip()


def run_in(root: Path, *line: str, **environment: str) -> str:
    """What Python says that has its code there."""
    path = f"{root}:{root / 'protos' / 'gen'}"
    found = subprocess.run(
        [sys.executable, *line],
        cwd=root,
        env={"PYTHONPATH": path, **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr.decode()
    return found.stdout.decode()


def imported(root: Path) -> Path:
    """Where a process that has its code there finds it."""
    return Path(run_in(root, "-c", "import services; print(services.__file__)").strip())


@dataclass
class Mixed:
    """A suite some of whose processes may run another version."""

    replicas: dict[str, list[Process]]
    """By service, the gateway among them."""
    earlier: Path

    @property
    def url(self) -> str:
        """The edge."""
        return f"http://{self.replicas['gateway'][0].address}"

    @property
    def all(self) -> Sequence[Process]:
        """Its processes, in the order in which they depend on each other."""
        return [each for replicas in self.replicas.values() for each in replicas]

    def process(self, name: str) -> Process:
        """The one of this name."""
        (found,) = self.replicas[name]
        return found

    def replace(self, name: str, how: Signals = Signals.SIGKILL) -> None:
        """End one by a signal, and start the other version in its place."""
        process = self.process(name)
        process.signal(how)
        assert process.child is not None
        process.child.wait(20)
        process.root = ROOT if process.root == self.earlier else self.earlier
        process.start()


@contextmanager
def mixed(
    folder: Path,
    earlier: Path,
    names: Collection[str] = (),
    *,
    both: Collection[str] = (),
    event_store: str = "",
    **environment: str,
) -> Iterator[Mixed]:
    """A suite of which the processes with these names are of the earlier version, and of `both`
    there is one of each."""
    shared = {"RUNPLANE_EVENT_STORE": event_store or f"sqlite:///{folder / 'data'}", **environment}
    suite = Mixed({}, earlier)

    def add(name: str, callees: Collection[str], **settings: str) -> None:
        targets = {
            f"{name.upper()}_{each.upper()}__TARGET": _target(suite.replicas[each])
            for each in callees
        }
        roots = [ROOT, earlier] if name in both else [earlier if name in names else ROOT]
        suite.replicas[name] = [
            _process(folder, name, number, root, {**targets, **shared, **settings})
            for number, root in enumerate(roots, 1)
        ]

    add("inference", (), **PACE)
    add("tool_registry", (), **ROOM)
    orchestrator = {"ORCHESTRATOR_MARK_KEY": KEY, **UNCACHED, **SOON_TASKS}
    add("orchestrator", ("inference", "tool_registry"), **orchestrator)
    add("workflow", ("tool_registry", "orchestrator"), **SOON)
    add("gateway", ("inference", "tool_registry", "orchestrator", "workflow"))
    with started(suite.all):
        yield suite


def _process(
    folder: Path, name: str, number: int, root: Path, environment: dict[str, str]
) -> Process:
    port, admin = (free() for _ in range(2))
    log = folder / f"{name}_{number}.log"
    return Process(name, environment, port, admin, log, root=root)


def _target(replicas: Sequence[Process]) -> str:
    """All of them, as grpc names them."""
    addresses = [each.address for each in replicas]
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
