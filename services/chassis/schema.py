"""JSON Schema (2020-12), compiled once, with bounds on what a schema may ask of its host.

Formats are asserted, references stay inside the document, and patterns are matched in linear time
(so no lookaround and no backreferences).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import jsonschema_rs

from services.chassis.errors import Violation, invalid
from services.chassis.schema_faults import Hints, explained
from services.chassis.schema_loops import loop

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 32
MAX_PATTERNS: Final = 16
MAX_WORK: Final = 10_000
MAX_PAIRS: Final = 20_000_000
"""Of parts of the schema and of the value: no check looks at more, whichever way they meet."""
MAX_MATCHING: Final = 100_000_000
"""Of states of the patterns and characters of the value's texts."""
MAX_VIOLATIONS: Final = 10

_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=256 * 1024, dfa_size_limit=256 * 1024)
_REPEATED: Final = re.compile(r"\{(\d{1,6})(?:,(\d{0,6}))?\}")
_REFERENCES: Final = ("$ref", "$dynamicRef")
_ANCHORS: Final = ("$anchor", "$dynamicAnchor")
_DEFINITIONS: Final = ("$defs", "definitions")
_REFERENCE_DEPTH: Final = 200
_OPTION: Final = 8
"""Parts that a value under `enum` or `const` counts: a value is held against one after another."""
_MANY_VALUES: Final = 2_000
_MANY_PAIRS: Final = 50_000
_DIALECTS: Final = (
    "https://json-schema.org/draft/2020-12/schema",
    # Generators name these out of habit; what tools use of them reads the same in 2020-12.
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
)


class Schema:
    """A schema that values are checked against. Checking never blocks for long.

    `field` is where the checked value stands in a request, such as `input`: violations start
    with it.
    """

    def __init__(
        self, document: Mapping[str, object], *, field: str, max_bytes: int = MAX_BYTES
    ) -> None:
        """Compile the document.

        Raises:
            InvalidArgument: `SCHEMA_INVALID`, with `field`: it is no schema, or is beyond bounds.
        """
        self.document = document
        self._field = field
        problem = _problem(document, max_bytes) or self._compile(document)
        if problem is not None:
            message, fix = problem
            raise invalid(Violation(field, message, fix), reason="SCHEMA_INVALID")

    def _compile(self, whole: Mapping[str, object]) -> tuple[str, str] | None:
        expansion = _Expansion(whole)
        if expansion.work > MAX_WORK:
            return "refers to its own parts too many times", "use fewer $ref within $ref"
        if (circle := expansion.circle()) is not None:
            fix = "let it lead to a schema, or pass a property or an item before it comes back"
            return f"has a reference that only leads to itself: {circle[:128]}", fix
        self._fan_out = max(expansion.references, 2) if expansion.is_recursive else 0
        self._parts = max(1, _Expansion(whole, most=MAX_PAIRS, option=_OPTION).work)
        self._states = sum(map(_states, _patterns(whole)))
        document = {name: part for name, part in whole.items() if name != "$schema"}
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                document, validate_formats=True, offline=True, pattern_options=_PATTERNS
            )
        except jsonschema_rs.ValidationError as error:
            where = "/".join(map(str, ("", *error.instance_path)))[:128]
            return (
                f"is not a JSON Schema (2020-12): at {where or 'the root'}: {error.message[:128]}",
                f"mend {where or 'the schema'}",
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            return f"is not a JSON Schema: {str(error)[:128]}", "send a JSON Schema (2020-12)"
        return None

    def is_valid(self, value: object) -> bool:
        """Whether the value satisfies the schema; not if that would take long to tell."""
        if self._excess(value) is not None:
            return False
        try:
            return self._validator.is_valid(value)
        except (TypeError, ValueError):
            return False

    def violations(self, value: object) -> list[Violation]:
        """What is wrong with the value, at most ten; empty when it is valid."""
        if (excess := self._excess(value)) is not None:
            return [excess]
        try:
            if self._validator.is_valid(value):
                return []
        except (TypeError, ValueError):  # Lone surrogates, sets, 300 levels.
            fix = "send JSON: valid UTF-8, at most 64 levels deep"
            return [Violation(self._field, "is not a JSON value", fix)]
        nodes, depth = _size(value)
        if self._fan_out and self._fan_out**depth > MAX_WORK:
            # Listing every branch that fails would take time exponential in the value's depth.
            fix = "compare it with the schema, from the outside in"
            return [Violation(self._field, "does not match its recursive schema", fix)]
        found: list[Violation] = []
        hints = Hints()
        is_large = nodes > _MANY_VALUES or nodes * self._parts > _MANY_PAIRS
        for error in self._errors(value, is_large=is_large):
            found += explained(error, self.document, self._field, hints)
            if len(found) >= MAX_VIOLATIONS:
                break
        return found[:MAX_VIOLATIONS]

    def _excess(self, value: object) -> Violation | None:
        """That checking this value would take long; None if it would not."""
        nodes, characters = _extent(value)
        if nodes * self._parts > MAX_PAIRS or characters * self._states > MAX_MATCHING:
            fix = "send a smaller value, or use a simpler schema"
            return Violation(self._field, "is too large to be checked against this schema", fix)
        return None

    def _errors(self, value: object, *, is_large: bool) -> Iterator[jsonschema_rs.ValidationError]:
        if not is_large:  # All errors are made before the first is seen.
            return self._validator.iter_errors(value)
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return iter([error])
        return iter(())


def _problem(document: object, max_bytes: int) -> tuple[str, str] | None:
    """What is wrong with the document before anything is compiled, and the fix."""
    if not isinstance(document, Mapping):
        return "is not an object", 'send a JSON Schema such as {"type": "object"}'
    if _size(document, limit=max_bytes)[1] > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} levels deep", "move parts to $defs"
    try:
        size = len(json.dumps(document, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError):
        return "is not JSON", "send a JSON object, with finite numbers and valid UTF-8"
    if size > max_bytes:
        return f"has {size:,} bytes; at most {max_bytes:,} are allowed", "shorten it"
    dialect = document.get("$schema", _DIALECTS[0])
    if not isinstance(dialect, str) or dialect.removesuffix("#") not in _DIALECTS:
        return "is of a dialect not known here", f"use {_DIALECTS[0]}, or leave $schema out"
    return _foreign(document) or _patterned(document)


def _foreign(document: Mapping[str, object]) -> tuple[str, str] | None:
    for part in _objects(document):
        for name in _REFERENCES:
            target = part.get(name)
            if isinstance(target, str) and not target.startswith("#"):
                return f"refers to {target[:64]}", "put it under $defs and refer to #/$defs/…"
        if part is not document and isinstance(part.get("$id"), str):
            return "has an $id within", "leave $id out, or put it at the root"
    return None


def _patterned(document: Mapping[str, object]) -> tuple[str, str] | None:
    patterns = sum(1 for _ in _patterns(document))
    if patterns > MAX_PATTERNS:
        return f"has {patterns} patterns; at most {MAX_PATTERNS} are allowed", "use fewer"
    return None


def _patterns(document: Mapping[str, object]) -> Iterator[str]:
    for part in _objects(document):
        if isinstance(pattern := part.get("pattern"), str):
            yield pattern
        if isinstance(by_name := part.get("patternProperties"), Mapping):
            yield from map(str, by_name)


def _states(pattern: str) -> int:
    """How many states a pattern has at most, about: its length, by what is repeated."""
    repeated = 1
    for low, high in _REPEATED.findall(pattern):
        repeated = min(repeated * max(1, int(low), int(high or 0)), MAX_MATCHING)
    return len(pattern) * repeated


def _objects(document: object) -> Iterator[Mapping[str, object]]:
    """Every object in the document; its depth is bounded already."""
    pending = [document]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            yield part
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)


def _extent(value: object) -> tuple[int, int]:
    """How many values there are, and how many characters their texts have."""
    nodes = characters = 0
    pending = [value]
    while pending:
        part = pending.pop()
        nodes += 1
        if isinstance(part, str):
            characters += len(part)
        elif isinstance(part, Mapping):
            characters += sum(map(len, part))
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)
    return nodes, characters


def _size(value: object, *, limit: int = 100_000) -> tuple[int, int]:
    """How many values there are, and how deep they are nested; stops counting at `limit`."""
    nodes = depth = 0
    level = [value]
    while level and nodes < limit and depth <= 100:
        nodes += len(level)
        inner: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                inner.extend(each.values())
            elif isinstance(each, list | tuple):
                inner.extend(each)
        depth += 1
        level = inner
    return nodes, depth


def _pointers(part: Mapping[str, object]) -> Iterator[str]:
    return (target for name in _REFERENCES if isinstance(target := part.get(name), str))


def _options(part: Mapping[str, object]) -> int:
    """How many values are asked for; none where all are texts, or integers: they are looked up."""
    options = part.get("enum")
    asked = list(options) if isinstance(options, list | tuple) else []
    if any(all(type(each) is kind for each in asked) for kind in (str, int)):
        asked = []
    asked += [part["const"]] if "const" in part else []
    return sum(_extent(each)[0] for each in asked)


class _Expansion:
    """How much there is to check when every local reference is written out."""

    def __init__(
        self, document: Mapping[str, object], *, most: int = MAX_WORK, option: int = 0
    ) -> None:
        """Counting ends beyond `most`; `option` is what each value that is asked for counts."""
        self.references = 0
        self._most = most
        self._option = option
        self.is_recursive = False
        self._document = document
        self._anchors = {
            f"#{part[name]}": part
            for part in _objects(document)
            for name in _ANCHORS
            if name in part
        }
        self._known: dict[str, int] = {}
        self._open: set[str] = set()
        rules = {name: part for name, part in document.items() if name not in _DEFINITIONS}
        self.work = self._of(rules, 0)

    def circle(self) -> str | None:
        """A reference that only leads to itself; None if there is none."""
        part = loop(_objects(self._document), self._targets)
        return None if part is None else next(_pointers(part))

    def _targets(self, part: Mapping[str, object]) -> Iterator[object]:
        return map(self._resolved, _pointers(part))

    def _of(self, part: object, depth: int) -> int:
        if depth > _REFERENCE_DEPTH:
            return self._most + 1
        if isinstance(part, list | tuple):
            return sum(self._of(each, depth + 1) for each in part)
        if not isinstance(part, Mapping):
            return 0
        work = 1 + sum(self._of(each, depth + 1) for each in part.values())
        work += sum(self._target(target, depth + 1) for target in _pointers(part))
        return work + self._option * _options(part) if self._option else work

    def _target(self, pointer: str, depth: int) -> int:
        self.references += 1
        if pointer in self._open:  # Recursion ends with the value that is checked.
            self.is_recursive = True
            return 1
        if pointer not in self._known:
            self._open.add(pointer)
            self._known[pointer] = min(self._of(self._resolved(pointer), depth), self._most + 1)
            self._open.remove(pointer)
        return self._known[pointer]

    def _resolved(self, pointer: str) -> object:
        """What the pointer names; nothing when it dangles, which the compiler will say."""
        if pointer in self._anchors:
            return self._anchors[pointer]
        part: object = self._document
        for step in pointer.removeprefix("#").split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping):
                part = part.get(name)
            elif isinstance(part, list | tuple) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                return None
        return part
