"""What every image keeps to, whatever it holds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings as GatewaySettings
from services.inference.settings import Settings as InferenceSettings
from services.orchestrator.settings import Settings as OrchestratorSettings
from services.tool_registry.settings import Settings as ToolRegistrySettings
from services.workflow.settings import Settings as WorkflowSettings
from tests.images.dockerfile import ROOT, Step, filled, ours, stages, targets, whole
from tests.images.running import environment

SETTINGS = {
    "gateway": GatewaySettings,
    "inference": InferenceSettings,
    "orchestrator": OrchestratorSettings,
    "tool-registry": ToolRegistrySettings,
    "workflow": WorkflowSettings,
}
PINNED = re.compile(r"[a-z0-9./-]+:[a-z0-9._-]*\d[a-z0-9._-]*@sha256:[0-9a-f]{64}")

each_target = pytest.mark.parametrize("name", sorted(targets()))
each_service = pytest.mark.parametrize("name", sorted(SETTINGS))


def of(steps: list[Step], word: str) -> list[str]:
    return [step.rest for step in steps if step.word == word]


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (found.returncode, found.stdout) == (0, "")


def test_every_service_is_a_target() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")} | {"gateway"}

    assert folders <= {name.replace("-", "_") for name in targets()}


def test_bases_are_pinned_by_tag_and_digest() -> None:
    bases = {stage.base for stage in ours().values()} - ours().keys()

    assert bases
    assert [base for base in bases if not PINNED.fullmatch(base)] == []


@each_target
def test_an_image_runs_as_a_numbered_user_who_is_not_root(name: str) -> None:
    user, group = of(whole(name), "USER")[-1].split(":")

    assert int(user) > 0
    assert int(group) > 0


@each_target
def test_an_image_starts_python_without_a_shell(name: str) -> None:
    (entry,) = of(whole(name), "ENTRYPOINT")

    assert json.loads(entry)[:2] == ["python", "-m"]
    assert of(whole(name), "HEALTHCHECK") == ["NONE"]


@each_target
def test_nothing_is_installed_where_things_run(name: str) -> None:
    assert [step.rest for step in targets()[name].steps if step.word == "RUN"] == []


@each_target
def test_an_image_says_what_it_is(name: str) -> None:
    labels = {k: v for step in whole(name) if step.word == "LABEL" for k, v in step.pairs.items()}

    assert labels["org.opencontainers.image.title"] == f"runplane/{name}"
    assert labels.keys() >= {
        f"org.opencontainers.image.{key}"
        for key in ("version", "revision", "licenses", "base.name", "base.digest")
    }


def test_steps_stay_in_their_folder() -> None:
    """Of `cuda`, which installs Ubuntu's packages, nothing can be carried out elsewhere."""
    others = [stage for name, stage in ours().items() if name != "cuda"]
    commands = [command for stage in others for command in stage.all("RUN")]

    assert commands
    assert [each for each in commands if re.search(r"(^|[\s=\"'])(/|~|\.\.)", each)] == []


@each_service
def test_what_an_image_sets_are_settings_of_its_service(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {k: v for k, v in environment(whole(name)).items() if not k.startswith("PYTHON")}
    for variable, value in own.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("RUNPLANE_PAGE_TOKEN_KEY", "0" * 64)
    monkeypatch.setenv("ORCHESTRATOR_MARK_KEY", "0" * 64)

    settings = SETTINGS[name]()

    listening = settings if isinstance(settings, GatewaySettings) else settings.server
    ports = {listening.listen.rpartition(":")[2], listening.admin.rpartition(":")[2]}
    assert {listening.listen, listening.admin} == set(own.values())
    assert ports == set(of(whole(name), "EXPOSE")[-1].split())


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="ONBUILD"):
        stages("FROM scratch AS one\nONBUILD RUN true\n")


def test_continued_lines_and_arguments_are_read() -> None:
    found = stages("ARG BASE=a:1\nFROM ${BASE} AS one\n# no\nENV A=1 \\\n    B=two\n")

    assert found["one"].base == "a:1"
    assert environment(list(found["one"].steps)) == {"A": "1", "B": "two"}
    assert filled("${A}-${B}", {"A": "1", "B": "2"}) == "1-2"


def test_the_image_for_gpus_has_what_its_kernels_are_compiled_with() -> None:
    (command,) = ours()["cuda"].all("RUN")

    packages = {each.strip('"').removesuffix("-${CUDA_RELEASE}") for each in command.split()}
    assert packages >= {"g++", "ninja-build", "python3-dev", "cuda-nvcc", "cuda-cudart-dev"}


def test_what_is_compiled_on_a_gpu_is_kept_below_home() -> None:
    """A pod's /tmp is small, and names of folders there want a user's."""
    told = environment(whole("inference-gpu"))

    folders = {name: value for name, value in told.items() if name.endswith("_CACHE_DIR")}
    assert len(folders) > 2
    assert [each for each in folders.values() if not each.startswith(f"{told['HOME']}/")] == []
    assert told["USER"]
