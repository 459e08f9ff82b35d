"""What stands for a base image has what one has, whichever Python runs this."""

import subprocess
from pathlib import Path

from tests.images.build import base_python, libraries


def test_a_copied_python_has_pip_and_a_library_of_its_own(tmp_path: Path) -> None:
    python = base_python(tmp_path / "python")

    ask = "import pip, os; print(pip.__file__, os.__file__)"
    said = subprocess.run(
        [python, "-I", "-c", ask],
        env=libraries(python),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert [Path(each).is_relative_to(tmp_path) for each in said.stdout.split()] == [True, True]
