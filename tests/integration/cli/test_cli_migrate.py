"""`runplane migrate` as a process, and services that are told to leave schemas alone."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.running import PLAIN, outcome

KEY = "5" * 64


def migrate(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return outcome("migrate", *arguments, RUNPLANE_EVENT_STORE=f"sqlite:///{folder}")


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """The workflow service's start, as far as it comes without anybody to serve."""
    environment = {
        **PLAIN,
        "RUNPLANE_PAGE_TOKEN_KEY": KEY,
        "RUNPLANE_EVENT_STORE": f"sqlite:///{folder}",
        "RUNPLANE_MIGRATE": "never",
        "WORKFLOW_SERVER__LISTEN": "127.0.0.1:99999",  # Which is no port: it ends there.
    }
    line = [sys.executable, "-m", "services.workflow"]
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_what_is_pending_is_told_then_applied_then_not_pending(tmp_path: Path) -> None:
    pending, _, _ = migrate(tmp_path, "--check")
    made, applied, _ = migrate(tmp_path)
    done, told, _ = migrate(tmp_path, "--check")

    assert (pending, made, done) == (1, 0, 0)
    assert "workflow: applied steps 1 to" in applied
    assert "workflow: up to date" in told


def test_a_look_makes_no_file(tmp_path: Path) -> None:
    migrate(tmp_path / "data", "--check")

    assert not (tmp_path / "data").exists()


def test_one_service_is_migrated_alone(tmp_path: Path) -> None:
    code, _, _ = migrate(tmp_path, "--service", "inference")

    assert code == 0
    assert [each.name for each in tmp_path.glob("*.db")] == ["inference.db"]


def test_a_start_that_may_not_migrate_fails_with_the_command_to_run(tmp_path: Path) -> None:
    before = start(tmp_path)
    migrate(tmp_path, "--service", "workflow")
    after = start(tmp_path)

    assert before.returncode == 1
    assert "runplane migrate --service workflow, with its RUNPLANE_EVENT_STORE" in before.stderr
    assert "runplane migrate" not in after.stderr
    assert "99999" in after.stderr


def test_a_store_that_cannot_be_reached_is_told_without_its_password() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/db"

    code, out, err = outcome("migrate", RUNPLANE_EVENT_STORE=url)

    assert code == 1
    assert "workflow: postgresql://me:…@127.0.0.1:1/db" in err
    assert "hunter2" not in out + err


def test_an_image_with_one_service_needs_no_cli_and_no_key(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RUNPLANE_")},
        "RUNPLANE_EVENT_STORE": f"sqlite:///{tmp_path}",
    }
    line = [sys.executable, "-m", "services.chassis.inspection", "services.workflow"]
    codes = [
        subprocess.run(
            [*line, command], env=environment, capture_output=True, check=False
        ).returncode
        for command in ("migrate-check", "migrate", "migrate-check")
    ]

    assert codes == [1, 0, 0]
