"""What a tool may say: bounds and forms of its fields. Pure."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from services.chassis.errors import Violation, invalid
from services.tool_registry.domain import names, target_checks, texts, version
from services.tool_registry.domain.call import MAX_TIMEOUT
from services.tool_registry.domain.line import taken
from services.tool_registry.domain.tool import Definition, Entry

MAX_DESCRIPTION: Final = 8 * 1024
MAX_TITLE: Final = 256
MAX_EXAMPLES: Final = 16
MAX_QUERY: Final = 1024
MAX_JSON_BYTES: Final = 64 * 1024  # Of all examples, and of the default.
MAX_CONCURRENCY: Final = 10_000
MAX_MESSAGE: Final = 1024
MAX_FAULTS: Final = 16
LEAST_TIMEOUT: Final = timedelta(milliseconds=1)

_TEXTS: Final = {"description": MAX_DESCRIPTION, "title": MAX_TITLE}


def check(entry: Entry) -> None:
    """Refuse what no tool may be.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with fields such as `tool.http.url`.
        AlreadyExists: `TOOL_ALREADY_EXISTS`; callers have such tools themselves.
    """
    check_name(entry.definition.name)
    version.check(entry.definition.version, "tool.version")
    if found := [*_own(entry.definition), *target_checks.faults(entry)]:
        raise invalid(*found[:MAX_FAULTS])


def check_name(name: str) -> None:
    """Refuse what cannot be a tool's name; see `check`."""
    if not names.NAME.fullmatch(name):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ -"
        raise invalid(Violation("tool.name", f"{name[:64]!r} cannot be a tool's name", fix))
    if names.RESERVED.fullmatch(name):
        raise taken(name, "not read_result, nor agent__ at the beginning: agents have such tools")


def check_complete(entry: Entry) -> None:
    """Refuse what does not fit together, once schemas and target are complete.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, `SCHEMA_INVALID`.
    """
    if entry.definition.input_schema.document.get("type") != "object":
        fix = 'add "type": "object"; a tool is called with an object'
        fault = Violation("tool.input_schema", "is not the schema of an object", fix)
        raise invalid(fault, reason="SCHEMA_INVALID")
    if found := [*target_checks.faults(entry), *_untrue(entry.definition)]:
        raise invalid(*found[:MAX_FAULTS])


def check_message(message: str) -> None:
    """Refuse a word on a deprecated tool that is too long. Raises InvalidArgument."""
    if len(message) > MAX_MESSAGE:
        raise invalid(_long("message", len(message), MAX_MESSAGE))


def _own(of: Definition) -> Iterator[Violation]:
    for name, most in _TEXTS.items():
        if (length := len(getattr(of, name))) > most:
            yield _long(f"tool.{name}", length, most)
        if (unseen := texts.UNSEEN.search(getattr(of, name))) is not None:
            fix = "leave out control characters but newline and tab, and those that turn text"
            yield Violation(f"tool.{name}", f"has U+{ord(unseen[0]):04X}, which nobody sees", fix)
    if not LEAST_TIMEOUT <= of.timeout <= MAX_TIMEOUT:
        fix = "send 1 to 3600000, or leave it out for 30000"
        yield Violation("tool.timeout_ms", "is not a time to wait", fix)
    if not 0 <= of.max_concurrency <= MAX_CONCURRENCY:
        fix = f"send 1 to {MAX_CONCURRENCY}, or 0 for what the service allows"
        yield Violation("tool.max_concurrency", "is no number of calls", fix)
    yield from _tags(of)
    yield from _examples(of)
    if of.default is not None and _size(of.default.value) > MAX_JSON_BYTES:
        yield Violation("tool.default", "is too large", f"send at most {MAX_JSON_BYTES} bytes")


def _tags(of: Definition) -> Iterator[Violation]:
    if len(of.tags) > names.MAX_TAGS:
        yield Violation("tool.tags", f"are {len(of.tags)}", f"send at most {names.MAX_TAGS}")
    for index, tag in enumerate(of.tags[: names.MAX_TAGS]):
        if not names.TAG.fullmatch(tag):
            fix = "use 1 to 64 of a-z 0-9 _ . -, beginning with a letter or a digit"
            yield Violation(f"tool.tags[{index}]", "is no tag", fix)
        elif tag in of.tags[:index]:
            yield Violation(f"tool.tags[{index}]", "is there before", "send each tag once")


def _examples(of: Definition) -> Iterator[Violation]:
    if len(of.examples) > MAX_EXAMPLES:
        fix = f"send at most {MAX_EXAMPLES}"
        yield Violation("tool.examples", f"are {len(of.examples)}", fix)
        return
    for index, each in enumerate(of.examples):
        if len(each.query) > MAX_QUERY:
            yield _long(f"tool.examples[{index}].query", len(each.query), MAX_QUERY)
    size = sum(_size(each.input) + _size(each.output) for each in of.examples)
    if size > MAX_JSON_BYTES:
        fix = f"send at most {MAX_JSON_BYTES} bytes"
        yield Violation("tool.examples", f"have {size} bytes", fix)


def _untrue(of: Definition) -> Iterator[Violation]:
    """What the tool's own schemas say against its examples and its default."""
    for index, each in enumerate(of.examples):
        for found in of.input_schema.violations(each.input)[:1]:
            yield _moved(found, f"tool.examples[{index}].input")
        for found in (
            of.output_schema.violations(each.output)[:1] if each.output is not None else ()
        ):
            yield _moved(found, f"tool.examples[{index}].output")
    for found in of.output_schema.violations(of.default.value)[:1] if of.default else ():
        yield _moved(found, "tool.default")


def _moved(found: Violation, field: str) -> Violation:
    where = found.field.partition(".")[2]
    path = f"{field}.{where}" if where else field
    return Violation(path, found.message, found.suggested_fix, found.schema_path)


def _long(field: str, length: int, most: int) -> Violation:
    return Violation(field, f"has {length} characters", f"send at most {most}")


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
