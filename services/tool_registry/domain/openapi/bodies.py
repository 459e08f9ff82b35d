"""What an operation takes as its body, and what it answers. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from services.tool_registry.domain import http_fields
from services.tool_registry.domain.openapi.document import (
    Document,
    Operation,
    Unsupported,
    mapping,
)

_FIELDS: Final = ("body", "request_body", "json_body")
_JSON: Final = "application/json"
_ANY: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True)
class Body:
    """A body that a tool can send: one field of its input."""

    field: str
    schema: Mapping[str, object]
    """As the document has it."""
    is_required: bool
    headers: Mapping[str, str]


def body_of(
    document: Document, operation: Operation, taken: Collection[str], notes: list[str]
) -> Body | None:
    """The body of an operation, if it has one.

    Raises:
        Unsupported: it has to have one that cannot be sent.
    """
    if "requestBody" not in operation.part:
        return None
    part = document.followed(operation.part["requestBody"])
    is_required = part.get("required") is True
    content = mapping(part.get("content"))
    media = _json(content)
    if media is None or operation.method not in http_fields.WITH_BODY:
        kind = ", ".join(sorted(content))[:128]
        has_none = operation.method not in http_fields.WITH_BODY
        problem = f"a {operation.method} with a body" if has_none else f"no JSON but {kind}"
        if is_required:
            raise Unsupported(f"its body is {problem}")
        notes.append(f"without its body, which is {problem}")
        return None
    field = next((name for name in _FIELDS if name not in taken), "")
    if not field:
        raise Unsupported("no name is left for its body")
    schema = mapping(mapping(content[media]).get("schema"))
    is_special = media != _JSON and http_fields.is_json(media)
    headers = {"content-type": media} if is_special else {}
    return Body(field, schema, is_required, headers)


def answer_schema(document: Document, operation: Operation) -> Mapping[str, object]:
    """The schema of what an operation answers when all is well, as the document has it.

    Raises:
        Unsupported: it answers neither JSON nor text.
    """
    answers = mapping(operation.part.get("responses"))
    good = [document.followed(answers[status]) for status in sorted(answers) if status[:1] == "2"]
    contents = [mapping(each.get("content")) for each in good]
    for content in contents:
        if (media := _json(content)) is not None:
            schema = mapping(mapping(content[media]).get("schema"))
            has_none = any(not each for each in contents)
            return {"anyOf": [schema, {"type": "null"}]} if has_none else schema
    kinds = {kind for content in contents for kind in content}
    if kinds and not any(http_fields.is_text(kind) or "*" in kind for kind in kinds):
        raise Unsupported(f"it answers {', '.join(sorted(kinds))[:128]}, neither JSON nor text")
    return _ANY


def _json(content: Mapping[str, object]) -> str | None:
    """The kind of JSON among these, if there is one."""
    if _JSON in content:
        return _JSON
    wild = "*/*" if "*/*" in content else None
    return next((kind for kind in sorted(content) if http_fields.is_json(kind)), wild)
