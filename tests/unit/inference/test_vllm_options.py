"""What a vLLM engine is told, looked at before anything is loaded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition
from services.inference.engines.vllm import options as vllm_options
from services.inference.engines.vllm.options import Options, checked


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_options, "find_spec", lambda name: name)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A model of 2,048 tokens, with an adapter of rank 12."""
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    for folder in (model, adapter):
        folder.mkdir()
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 2_048}))
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 12}))
    return Options(str(model), "m", context_tokens=2_048, adapters={"a": adapter})


def refused(options: Options) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as caught:
        checked(options)
    return caught.value


def test_what_can_be_is_left_as_it_is(options: Options) -> None:
    assert checked(options) is options


def test_there_is_room_for_the_largest_adapter(options: Options) -> None:
    assert options.rank == 16


def test_a_folder_that_is_not_there_is_named_with_its_variable(options: Options) -> None:
    error = refused(replace(options, model="/nowhere/model"))

    assert error.reason == "ENGINE_NOT_INSTALLED"
    assert "INFERENCE_VLLM__MODEL" in error.message
    assert "/nowhere/model/config.json" in error.message


def test_a_name_on_a_hub_is_left_to_vllm(options: Options) -> None:
    hub = replace(options, model="owner/name", adapters={})

    assert checked(hub).folder is None


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        ({"context_tokens": 4_096}, "INFERENCE_VLLM__CONTEXT_TOKENS"),
        ({"name": "a"}, "INFERENCE_VLLM__LORA"),
        ({"context_tokens": 4_096, "variable": "X__"}, "X__CONTEXT_TOKENS"),
    ],
    ids=["too long", "taken name", "another engine"],
)
def test_what_the_model_does_not_have_is_refused(
    options: Options, change: dict[str, object], variable: str
) -> None:
    error = refused(replace(options, **change))

    assert (error.reason, error.metadata["field"]) == ("ENGINE_MISCONFIGURED", variable)


@pytest.mark.parametrize("text", ["{", "[]", '{"r": 4096}', '{"r": 0}', "{}"])
def test_an_adapter_that_is_none_is_refused(options: Options, text: str) -> None:
    (options.adapters["a"] / "adapter_config.json").write_text(text)

    assert refused(options).reason == "ENGINE_MISCONFIGURED"


def test_an_adapter_that_is_not_there_is_named(options: Options) -> None:
    error = refused(replace(options, adapters={"b": Path("/nowhere")}))

    assert error.reason == "ENGINE_NOT_INSTALLED"
    assert "INFERENCE_VLLM__LORA" in error.message


def test_without_vllm_the_fix_is_named(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_options, "find_spec", lambda _: None)

    error = refused(options)

    assert error.reason == "ENGINE_NOT_INSTALLED"
    assert "runplane[vllm]" in error.message
