"""What upstreams can do, as data."""

import pytest

from services.inference.domain.model import Capability
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.upstream import Upstream, name_of

C = Capability


def upstream(dialect: str, **more: object) -> Upstream:
    return Upstream("big", "http://127.0.0.1:1/v1", "org/big", DIALECTS[dialect], **more)


@pytest.mark.parametrize(
    ("dialect", "more", "able"),
    [
        ("openai", {}, {C.GENERATE, C.SCHEMA, C.TOOLS}),
        ("openai", {"schema": "none", "has_tools": False}, {C.GENERATE}),
        ("vllm", {}, {C.GENERATE, C.SCHEMA, C.CONTINUE, C.CLASSIFY}),
        ("vllm", {"has_tools": True}, {C.GENERATE, C.SCHEMA, C.CONTINUE, C.CLASSIFY, C.TOOLS}),
        ("llamacpp", {}, {C.GENERATE, C.SCHEMA, C.CONTINUE, C.CLASSIFY}),
        ("llamacpp", {"is_embedding": True}, {C.EMBED}),
    ],
)
def test_a_model_can_do_what_its_dialect_and_its_settings_say(
    dialect: str, more: dict[str, object], able: set[Capability]
) -> None:
    assert upstream(dialect, **more).capabilities == able


def test_a_version_changes_with_what_is_asked_and_not_with_how_many_may_ask() -> None:
    versions = {upstream("vllm").version, upstream("vllm", slots=3).version}

    assert len(versions) == 1
    assert upstream("openai").version not in versions


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"),
        ("llama3:latest", "llama3-latest"),
        ("/models/a b.gguf", "a-b.gguf"),
        ("漢字", "upstream"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_model_is_called_by_the_end_of_its_name(model: str, name: str) -> None:
    assert name_of(model) == name
