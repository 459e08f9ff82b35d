"""The OpenAPI 3.1 description of the edge: its routes are the contracts' HTTP rules."""

import re
from typing import Any, Final

from contracts import Contracts, Field, Rpc, Rule, Service
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto
from own import ERROR, OWN, PARAMETERS
from schemas import Schema, Schemas, ref

_VARIABLE: Final = re.compile(r"\{([a-z0-9_.]+)(?:=([^}]*))?\}")
_SIMPLE: Final = {
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.Timestamp",
}
"""Messages that are one text."""
_EVERYWHERE: Final = ("RequestTimeout", "RequestId", "Traceparent", "Version")
_SENTENCES: Final = re.compile(r"(?<=\.)\s+")


def described(contracts: Contracts, services: list[str]) -> dict[str, Any]:
    """The description of these services, by their full names."""
    schemas = Schemas(contracts)
    paths: dict[str, dict[str, Any]] = {path: dict(item) for path, item in OWN.items()}
    tags = []
    for service in (each for each in contracts.services if each.full_name in services):
        tags.append({"name": _tag(service), "description": service.comment})
        for rpc in service.rpcs:
            for number, rule in enumerate(rpc.rules):
                operation = _Operation(schemas, contracts, rpc, rule)
                said = operation.described(_tag(service), number)
                paths.setdefault(operation.path, {})[rule.verb.lower()] = said
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Runplane",
            "version": "1.0",
            "description": "The run plane of AI agents: tasks, tools, models and workflows.",
        },
        "servers": [{"url": "/"}],
        "tags": [*tags, {"name": "edge", "description": "What the edge answers itself."}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "parameters": PARAMETERS,
            "responses": {
                "Error": {
                    "description": "It failed. `code` is the status, `error_code` the reason.",
                    "content": {"application/json": {"schema": ref("Error")}},
                }
            },
            "schemas": {"Error": ERROR} | dict(sorted(schemas.components.items())),
        },
    }


class _Operation:
    def __init__(self, schemas: Schemas, contracts: Contracts, rpc: Rpc, rule: Rule) -> None:
        self._schemas = schemas
        self._contracts = contracts
        self._rpc = rpc
        self._rule = rule
        self._in_path: list[str] = []
        self.path = _VARIABLE.sub(self._variable, rule.template)

    def described(self, tag: str, number: int) -> Schema:
        summary, *rest = _SENTENCES.split(self._rpc.comment, maxsplit=1)
        again = str(number + 1) if number else ""
        said: Schema = {
            "tags": [tag],
            "operationId": f"{tag}_{self._rpc.name}{again}",
            "summary": summary.replace("\n", " "),
            "description": "".join(rest),
            "parameters": self._parameters(),
            "responses": self._responses(),
        }
        if self._rule.body:
            content = {"application/json": {"schema": self._body()}}
            said["requestBody"] = {"required": True, "content": content}
        return said

    def _variable(self, found: re.Match[str]) -> str:
        """A template's variable as OpenAPI has it; one that is always the same is no variable."""
        name, segments = found[1], found[2] or "*"
        if "*" not in segments:
            return segments
        self._in_path.append(name)
        return re.sub(r"\*+", "{" + name + "}", segments)

    def _parameters(self) -> list[Schema]:
        parameters = [self._in("path", name, self._found(name)) for name in self._in_path]
        if self._rule.body != "*":
            taken = {*self._in_path, self._rule.body}
            for field in self._contracts.messages[self._rpc.input].fields:
                if field.name not in taken:
                    parameters += self._queried(field, "")
        names = [*_EVERYWHERE, *(["IdempotencyKey"] if self._rule.verb == "POST" else [])]
        return parameters + [{"$ref": f"#/components/parameters/{each}"} for each in names]

    def _queried(self, field: Field, prefix: str) -> list[Schema]:
        """A field in the query; one that is a message is its fields, with dots between."""
        name, type_name = prefix + field.name, field.proto.type_name.removeprefix(".")
        if field.proto.type != Proto.TYPE_MESSAGE or type_name in _SIMPLE:
            return [self._in("query", name, field)]
        if prefix or field.proto.label == Proto.LABEL_REPEATED or "google." in type_name:
            return []  # What queries cannot say.
        inner = self._contracts.messages[type_name].fields
        return [each for one in inner for each in self._queried(one, f"{name}.")]

    def _in(self, place: str, name: str, field: Field) -> Schema:
        schema = self._schemas.field(field)
        said = {"name": name, "in": place, "required": place == "path"}
        description = schema.pop("description", "")
        return said | {"description": description, "schema": schema}

    def _found(self, path: str) -> Field:
        message = self._contracts.messages[self._rpc.input]
        *outer, last = path.split(".")
        for name in outer:
            (field,) = (each for each in message.fields if each.name == name)
            message = self._contracts.messages[field.proto.type_name.removeprefix(".")]
        (field,) = (each for each in message.fields if each.name == last)
        return field

    def _body(self) -> Schema:
        if self._rule.body != "*":
            return self._schemas.field(self._found(self._rule.body))
        if self._in_path:
            return self._schemas.whole(self._rpc.input, without=frozenset(self._in_path))
        return self._schemas.of(self._rpc.input)

    def _responses(self) -> Schema:
        answer = self._schemas.of(self._rpc.output)
        error = {"default": {"$ref": "#/components/responses/Error"}}
        if self._rpc.streams_in:
            asked = self._schemas.of(self._rpc.input)
            content = {"application/json": {"schema": {"oneOf": [asked, answer]}}}
            text = "A WebSocket: the client sends the first, and gets the second, as text frames."
            return {"101": {"description": text, "content": content}} | error
        if self._rpc.streams_out:
            kinds = ("text/event-stream", "application/x-ndjson")
            content = {each: {"schema": answer} for each in kinds}
            return {"200": {"description": "Messages as they come.", "content": content}} | error
        content = {"application/json": {"schema": answer}}
        return {"200": {"description": "The answer.", "content": content}} | error


def _tag(service: Service) -> str:
    return service.name.removesuffix("Service")
