"""Parameters of an operation, as fields of a tool's input. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.tool_registry.domain import http_fields
from services.tool_registry.domain.openapi.dialect import COMPOSED
from services.tool_registry.domain.openapi.document import (
    Document,
    Operation,
    Unsupported,
    mapping,
    sequence,
    text,
)
from services.tool_registry.domain.targets import HttpAuth

# How values are written in each place, which is also how we write them.
_STYLES: Final = {"path": "simple", "query": "form", "header": "simple"}
_IGNORED: Final = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI says are no parameters."""
_OURS: Final = frozenset({"idempotency-key", "traceparent", "tracestate"})
"""Headers that the call sends by itself."""
_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that a tool can have."""

    name: str
    where: str
    """`path`, `query` or `header`."""
    is_required: bool
    schema: Mapping[str, object]
    """As the document has it."""
    description: str
    is_deprecated: bool


def parameters(
    document: Document, operation: Operation, auth: HttpAuth | None
) -> tuple[list[Parameter], list[str]]:
    """Those that a tool has, and what is to be known of those that are left out.

    Raises:
        Unsupported: one that has to be sent cannot be.
    """
    found: list[Parameter] = []
    notes: list[str] = []
    for part in _merged(document, operation):
        name, where = text(part.get("name")), text(part.get("in"))
        is_astray = where == "path" and f"{{{name}}}" not in operation.path
        if is_astray or _is_sent_anyway(name, where, auth):
            continue
        if problem := _problem(document, part):
            if part.get("required") is True:
                raise Unsupported(f"its parameter {name[:64]} {problem}")
            notes.append(f"without {name[:64]}, which {problem}")
            continue
        found.append(
            Parameter(
                name,
                where,
                where == "path" or part.get("required") is True,
                mapping(part.get("schema")),
                text(part.get("description")),
                part.get("deprecated") is True,
            )
        )
    return found, notes


def _merged(document: Document, operation: Operation) -> Iterable[Mapping[str, object]]:
    """The path's parameters and the operation's own, which replace those of the same name."""
    merged: dict[tuple[str, str], Mapping[str, object]] = {}
    for owner in (operation.item, operation.part):
        for each in sequence(owner.get("parameters")):
            part = document.followed(each)
            merged[text(part.get("name")), text(part.get("in"))] = part
    return merged.values()


def _is_sent_anyway(name: str, where: str, auth: HttpAuth | None) -> bool:
    if where == "header":
        low = name.lower()
        is_auth = auth is not None and auth.scheme == "header" and low == auth.name.lower()
        return low in _IGNORED or low in _OURS or is_auth
    return where == "query" and auth is not None and (auth.scheme, auth.name) == ("query", name)


def _problem(document: Document, part: Mapping[str, object]) -> str:
    """Why a parameter cannot be sent; empty if it can."""
    name, where = text(part.get("name")), text(part.get("in"))
    if where not in _STYLES:
        return f"is in {where[:16] or 'no place'}"
    if where == "header" and http_fields.problem_of_name(name):
        return "is a header that tools do not have"
    if "content" in part:
        return "is a document of its own"
    style = text(part.get("style")) or _STYLES[where]
    if style != _STYLES[where]:
        return f"has the style {style[:32]}"
    return _unwritten(document, part, where)


def _unwritten(document: Document, part: Mapping[str, object], where: str) -> str:
    """Why values of this schema cannot be written there; empty if they can."""
    kinds = set(_kinds(document, part.get("schema"), 0))
    if "object" in kinds or "array of more" in kinds:
        return "is an object, or a list of more than texts"
    if where == "query" and "array" in kinds and part.get("explode") is False:
        return "is a list between commas"
    return ""


def _kinds(document: Document, schema: object, depth: int) -> Iterator[str]:
    """The types that a schema speaks of, as far as a parameter is concerned."""
    if depth > _DEPTH:
        return
    part = document.followed(schema)
    kind = part.get("type")
    yield from [kind] if isinstance(kind, str) else map(text, sequence(kind))
    if "properties" in part:
        yield "object"
    for inner in (each for name in COMPOSED for each in sequence(part.get(name))):
        yield from _kinds(document, inner, depth + 1)
    if "items" in part:
        yield "array"
        within = set(_kinds(document, part["items"], depth + 1))
        if not within.isdisjoint({"array", "object"}):
            yield "array of more"
