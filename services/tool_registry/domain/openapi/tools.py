"""An OpenAPI document as tools. Pure; a large one takes a second or a few."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.schema import Schema
from services.tool_registry.domain import http_fields, http_target
from services.tool_registry.domain.names import NAMESPACE, TAG
from services.tool_registry.domain.openapi import names
from services.tool_registry.domain.openapi.bodies import Body, answer_schema, body_of
from services.tool_registry.domain.openapi.dialect import Way
from services.tool_registry.domain.openapi.document import (
    Document,
    Operation,
    Unsupported,
    fault,
    sequence,
    text,
)
from services.tool_registry.domain.openapi.parameters import Parameter, parameters
from services.tool_registry.domain.openapi.schemas import Schemas
from services.tool_registry.domain.targets import Http, HttpAuth
from services.tool_registry.domain.texts import cut, plain
from services.tool_registry.domain.tool import TIMEOUT, Definition, Entry
from services.tool_registry.domain.version import FIRST

MAX_DESCRIPTION: Final = 1024
MAX_TITLE: Final = 128
MAX_SCHEMAS_BYTES: Final = 8 * 1024 * 1024
"""Of all tools, each with the parts that it shares with others."""
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of a document."""

    namespace: str
    base_url: str = ""
    """Empty: the document's first server."""
    auth: HttpAuth | None = None
    operations: tuple[str, ...] = ()
    """Their ids; empty for all."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to become of an operation."""

    operation: str
    entry: Entry | None
    """None: it cannot be a tool."""
    reason: str = ""
    """Why not; or what the tool does without."""


def planned(root: Mapping[str, object], wanted: Wanted) -> Sequence[Planned]:
    """What is to become of each operation that is wanted, by path and method.

    Raises:
        InvalidArgument: `OPENAPI_INVALID` or `INVALID_REQUEST`.
    """
    _check(wanted)
    document = Document(root)
    operations = document.operations()
    known = {operation.id for operation in operations}
    for index, each in enumerate(wanted.operations):
        if each not in known:
            fix = "name operations by their ids, or leave them out for all"
            raise invalid(Violation(f"operations[{index}]", "is not in the document", fix))
    named = zip(operations, names.names(operations, wanted.namespace), strict=True)
    reading = _Reading(document, wanted)
    return [
        reading.planned(operation, name)
        for operation, name in named
        if not wanted.operations or operation.id in wanted.operations
    ]


def _check(wanted: Wanted) -> None:
    if not NAMESPACE.fullmatch(wanted.namespace):
        fix = "use 1 to 32 of A-Z a-z 0-9 -; not agent"
        raise invalid(Violation("namespace", "cannot begin the names of tools", fix))
    for index, tag in enumerate(wanted.tags):
        if not TAG.fullmatch(tag):
            fix = "use 1 to 64 of a-z 0-9 _ . -, beginning with a letter or a digit"
            raise invalid(Violation(f"tags[{index}]", "is no tag", fix))
    if wanted.base_url and (problem := _url_problem(wanted.base_url)):
        fix = "send one such as https://api.example/v1"
        raise invalid(Violation("base_url", problem, fix))
    if wanted.auth is not None:
        found = http_target.auth_faults(Http("GET", "https://x.example", auth=wanted.auth), {})
        told = [replace(each, field=each.field.removeprefix("tool.http.")) for each in found]
        if told:
            raise invalid(*told)


def _url_problem(url: str) -> str:
    if "{" in url or list(http_target.url_faults(url)):
        return "is no absolute URL that a tool can have"
    return "has a query" if urlsplit(url).query else ""


class _Reading:
    """Reads operations of one document for one import."""

    def __init__(self, document: Document, wanted: Wanted) -> None:
        self._document = document
        self._wanted = wanted
        self._schemas = Schemas(document)
        self._bytes = 0

    def planned(self, operation: Operation, name: str) -> Planned:
        """What is to become of an operation."""
        notes: list[str] = []
        try:
            entry = self._entry(operation, name, notes)
        except Unsupported as reason:
            return Planned(operation.id, None, str(reason))
        return Planned(operation.id, entry, "; ".join(notes))

    def _entry(self, operation: Operation, name: str, notes: list[str]) -> Entry:
        if operation.method not in http_fields.METHODS:
            raise Unsupported(f"its method is {operation.method}")
        auth = self._auth(operation, notes)
        fields, left_out = parameters(self._document, operation, auth)
        notes += left_out
        body = body_of(self._document, operation, {each.name for each in fields}, notes)
        schema = self._input(fields, body)
        target = Http(
            method=operation.method,
            url=self._url(operation),
            query=tuple(each.name for each in fields if each.where == "query"),
            headers=body.headers if body else {},
            header_fields={each.name: each.name for each in fields if each.where == "header"},
            body=body.field if body else "",
            auth=auth,
        )
        if found := list(http_target.faults(target, schema.document)):
            raise Unsupported("; ".join(f"{each.field}: {each.message}" for each in found[:3]))
        definition = self._definition(operation, name, schema, self._output(operation, notes))
        is_deprecated = operation.part.get("deprecated") is True
        why = "its OpenAPI document says so" if is_deprecated else ""
        return Entry(definition, target, is_deprecated=is_deprecated, deprecation=why)

    def _input(self, fields: Sequence[Parameter], body: Body | None) -> Schema:
        properties = {each.name: _described(each) for each in fields}
        required = [each.name for each in fields if each.is_required]
        if len(properties) < len(fields):
            raise Unsupported("two of its parameters have one name")
        if body:
            properties[body.field] = body.schema
            required += [body.field] if body.is_required else []
        whole = {"type": "object", "properties": properties, "additionalProperties": False}
        needed = {"required": required} if required else {}
        return self._compiled(self._schemas.whole({**whole, **needed}, Way.INPUT), "input")

    def _definition(
        self, operation: Operation, name: str, schema: Schema, output: Schema
    ) -> Definition:
        part = operation.part
        summary = _SPACE.sub(" ", text(part.get("summary"))).strip()
        told = _SPACE.sub(" ", plain(text(part.get("description")))).strip()
        if not told.startswith(summary):
            told = f"{summary.rstrip('.')}. {told}" if told else summary
        return Definition(
            name=name,
            version=FIRST,
            description=cut(told or f"{operation.method} {operation.path}", MAX_DESCRIPTION),
            input_schema=schema,
            output_schema=output,
            examples=(),
            timeout=TIMEOUT,
            is_idempotent=operation.method in http_fields.REPEATABLE,
            title=cut(plain(summary), MAX_TITLE),
            tags=names.tags(self._wanted.tags, sequence(part.get("tags"))),
        )

    def _output(self, operation: Operation, notes: list[str]) -> Schema:
        """The schema of results. One that cannot be checked against lets everything pass."""
        found = answer_schema(self._document, operation)
        try:
            return self._compiled(self._schemas.whole(found, Way.OUTPUT), "output")
        except Unsupported as reason:
            notes.append(f"results are not checked: {reason}")
            return Schema({}, field="output")

    def _compiled(self, document: Mapping[str, object], field: str) -> Schema:
        """A schema that values are checked against. Making many large ones takes long."""
        self._bytes += len(json.dumps(document, ensure_ascii=False).encode())
        if self._bytes > MAX_SCHEMAS_BYTES:
            problem = f"makes schemas of more than {MAX_SCHEMAS_BYTES:,} bytes"
            fix = "import some of its operations at a time, each part in its own namespace"
            raise fault("document", problem, fix)
        try:
            return Schema(document, field=field)
        except InvalidArgument as error:
            raise Unsupported(error.message) from None

    def _url(self, operation: Operation) -> str:
        base = self._wanted.base_url or self._document.base_url(operation)
        return base.rstrip("/") + operation.path

    def _auth(self, operation: Operation, notes: list[str]) -> HttpAuth | None:
        """What the import gives, unless the operation says that it wants none."""
        owner = operation.part if "security" in operation.part else self._document.root
        ways = sequence(owner.get("security"))
        if self._wanted.auth is not None:
            return self._wanted.auth if ways or "security" not in owner else None
        if ways and not any(way == {} for way in ways):
            notes.append("it wants proof of who calls, and no auth was given")
        return None


def _described(parameter: Parameter) -> Mapping[str, object]:
    """The schema of a parameter, with what the parameter itself says."""
    said: dict[str, object] = {}
    if parameter.description:
        said["description"] = cut(parameter.description, MAX_DESCRIPTION)
    if parameter.is_deprecated:
        said["deprecated"] = True
    if "$ref" in parameter.schema and said:
        return {"allOf": [parameter.schema], **said}
    return {**said, **parameter.schema}
