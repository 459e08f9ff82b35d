"""The Job that migrates runs a command that there is, with all that it reads."""

from pathlib import Path

from click.testing import CliRunner

from services.cli.main import main
from tests.k8s.manifests import Object, built
from tests.k8s.settings import deployments, environment

ALL = "tests/everything"


def job() -> Object:
    return next(each for each in built(ALL) if each["kind"] == "Job")["spec"]["template"]["spec"]


def test_the_job_runs_a_command_that_there_is() -> None:
    arguments = job()["containers"][0]["args"]

    said = CliRunner().invoke(main, [*arguments, "--help"])

    assert said.exit_code == 0
    assert "RUNPLANE_EVENT_STORE" in said.output


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
