"""The Job that migrates runs a command that there is, with all that it reads."""

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from services.cli.main import main
from tests.k8s.manifests import Object, built, of_kind
from tests.k8s.settings import SECRETS, deployments, environment

ALL = "tests/everything"
ROOT = Path(__file__).parents[2]


def job() -> Object:
    (only,) = of_kind(ALL, "Job").values()
    return dict(only["spec"]["template"]["spec"])


def test_the_job_runs_a_command_that_there_is() -> None:
    arguments = job()["containers"][0]["args"]

    said = CliRunner().invoke(main, [*arguments, "--help"])

    assert said.exit_code == 0
    assert "RUNPLANE_EVENT_STORE" in said.output


def test_the_commands_of_the_readme_find_the_job_in_their_overlay() -> None:
    text = (ROOT / "k8s/README.md").read_text(encoding="utf-8")
    (overlay, name), *others = re.findall(
        r"apply -k k8s/(\S+) -l app.kubernetes.io/name=(\w+)", text
    )

    labelled = {
        each["kind"]
        for each in built(overlay)
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name
    }

    assert others == []
    assert labelled == {"Job", "NetworkPolicy"}


def test_the_job_migrates_with_the_files_that_it_has(tmp_path: Path) -> None:
    said = {**SECRETS, "runplane_event_store": f"sqlite:////{tmp_path}"}
    sources = job()["volumes"][0]["projected"]["sources"]
    found = [item["path"] for each in sources for item in each["secret"]["items"]]
    given = {file.upper(): said[file] for file in found}
    arguments = job()["containers"][0]["args"]

    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments[:-1], str(tmp_path / "state")],
        env=given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert given.keys() == {"RUNPLANE_PAGE_TOKEN_KEY", "RUNPLANE_EVENT_STORE"}
    assert sorted(each.stem for each in tmp_path.glob("*.db")) == [
        "inference",
        "orchestrator",
        "tool_registry",
        "workflow",
    ]


def test_the_job_writes_only_where_it_may() -> None:
    (container,) = job()["containers"]
    state = Path(container["args"][container["args"].index("--state") + 1])

    writable = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]

    assert str(state.parent) in writable


def test_services_leave_their_schemas_to_the_job() -> None:
    things = built(ALL)

    told = {
        name: environment(things, each).get("RUNPLANE_MIGRATE")
        for name, each in deployments(things).items()
    }

    assert told == {
        "gateway": None,
        **dict.fromkeys(["inference", "orchestrator", "tool-registry", "workflow"], "never"),
    }
