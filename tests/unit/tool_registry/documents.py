"""OpenAPI documents, made for tests."""

from collections.abc import Mapping

from services.tool_registry.domain.openapi.tools import Planned, Wanted, planned

PET = {"$ref": "#/components/schemas/Pet"}
SCHEMAS: Mapping[str, object] = {
    "Pet": {
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {"type": "integer", "format": "int64", "readOnly": True},
            "name": {"type": "string", "example": "Rex", "nullable": True},
            "age": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            "secret": {"type": "string", "writeOnly": True},
            "parent": PET,
            "kind": {"type": "string", "enum": ["cat", "dog"], "nullable": True},
            "owner": {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Owner"}]},
        },
        "xml": {"name": "pet"},
        "x-internal": True,
    },
    "Owner": {"type": "object", "properties": {"name": {"type": "string"}}},
    "Alone": {"type": "object"},
}


def answers(schema: Mapping[str, object] | None = None, media: str = "application/json") -> object:
    """The responses of an operation that answers this."""
    content = {} if schema is None else {"content": {media: {"schema": schema}}}
    return {"200": {"description": "ok", **content}, "default": {"description": "no"}}


def operation(**about: object) -> dict[str, object]:
    """An operation called `op`, which answers an object."""
    return {"operationId": "op", "responses": answers({"type": "object"}), **about}


def document(
    paths: Mapping[str, object] | None = None, *, version: str = "3.0.3", **about: object
) -> dict[str, object]:
    """A document; by default of one operation, `GET /pets`."""
    return {
        "openapi": version,
        "info": {"title": "pets", "version": "1"},
        "servers": [{"url": "https://api.example/v1"}],
        "paths": paths if paths is not None else {"/pets": {"get": operation()}},
        "components": {"schemas": SCHEMAS},
        **about,
    }


def only(
    about: Mapping[str, object] | None = None,
    *,
    path: str = "/pets",
    method: str = "get",
    wanted: Wanted = Wanted("pets"),  # noqa: B008 - frozen
    **root: object,
) -> Planned:
    """What becomes of a document's one operation."""
    paths = {path: {method: operation(**(about or {}))}}
    (found,) = planned(document(paths, **root), wanted)  # type: ignore[arg-type] # Its version.
    return found
