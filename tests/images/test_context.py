"""An engine is sent the code, and nothing that lies beside it."""

import subprocess

import pytest

from tests.images.context import is_let_in
from tests.images.dockerfile import ROOT, ours

CODE = ("services", "gateway", "protos/gen/runplane")


def test_every_file_that_is_copied_is_let_in() -> None:
    copied = {
        source
        for stage in ours().values()
        for rest in stage.all("COPY")
        if not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }

    assert [each for each in copied if not is_let_in(each)] == []
    assert [each for each in copied if not (ROOT / each).exists()] == []


def test_all_code_is_let_in() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *CODE], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )

    assert [each for each in listed.stdout.splitlines() if not is_let_in(each)] == []


@pytest.mark.parametrize(
    "path",
    [
        "services/.env",
        "services/inference/.env",
        "services/inference/engines/key.pem",
        "services/orchestrator/data.sqlite3-wal",
        "gateway/certificate.p12",
        "gateway/__pycache__/app.cpython-311.pyc",
        "protos/gen/runplane/dump.json",
        ".git/config",
        ".runplane/keys.json",
        "tests/images/box.py",
        "images/notes.txt",
    ],
)
def test_what_lies_beside_the_code_stays_outside(path: str) -> None:
    assert not is_let_in(path)
