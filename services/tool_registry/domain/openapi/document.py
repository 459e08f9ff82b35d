"""An OpenAPI document: its parts, found and followed. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.tool_registry.domain import pointer

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_OPERATIONS: Final = 500
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_VERSION: Final = re.compile(r"3\.([01])\.\d+\S*", re.ASCII)
_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")
_CHAIN: Final = 16  # References that lead to references.


class Unsupported(Exception):
    """An operation that cannot be a tool, or a part that it can do without."""


def mapping(value: object) -> Mapping[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def text(value: object) -> str:
    """The value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path, as the document has it."""

    path: str
    method: str
    """In upper case."""
    item: Mapping[str, object]
    """What it shares with the path's other methods."""
    part: Mapping[str, object]

    @property
    def id(self) -> str:
        """How people name it."""
        return text(self.part.get("operationId"))[:256] or f"{self.method} {self.path}"


class Document:
    """A document within bounds."""

    def __init__(self, root: Mapping[str, object]) -> None:
        """Raises InvalidArgument `OPENAPI_INVALID`; it is none, or too large."""
        size = len(json.dumps(root, ensure_ascii=False).encode())
        if size > MAX_BYTES:
            raise fault("document", f"has {size:,} bytes", f"send at most {MAX_BYTES:,}")
        found = _VERSION.fullmatch(text(root.get("openapi")))
        if found is None:
            said = "Swagger 2.0" if "swagger" in root else "no OpenAPI 3.0 or 3.1"
            fix = "send a document with openapi: 3.0.x or 3.1.x; converters make one of others"
            raise fault("document.openapi", f"it is {said}", fix)
        self.root = root
        self.is_old = found[1] == "0"
        """Whether its schemas are those of 3.0, which has its own dialect."""

    def operations(self) -> list[Operation]:
        """All of them, by path and method: what came as a message has no order of its own.

        Raises:
            InvalidArgument: `OPENAPI_INVALID`; there are none, or too many.
        """
        found = list(self._operations())
        if not found:
            raise fault("document.paths", "has no operations", "send a document that has some")
        if len(found) > MAX_OPERATIONS:
            fix = f"send a document with at most {MAX_OPERATIONS}"
            raise fault("document.paths", f"has {len(found)} operations", fix)
        return found

    def _operations(self) -> Iterator[Operation]:
        for path, item in sorted(mapping(self.root.get("paths")).items()):
            if not path.startswith("/"):
                continue  # An extension, `x-…`.
            try:
                shared = self.followed(item)
            except Unsupported:
                continue
            for method in _METHODS:
                if isinstance(part := shared.get(method), Mapping):
                    yield Operation(path, method.upper(), shared, part)

    def base_url(self, operation: Operation) -> str:
        """Where an operation is: at the first server of its own, of its path, or of the document.

        Raises:
            Unsupported: that is nowhere in particular.
        """
        for owner in (operation.part, operation.item, self.root):
            if servers := sequence(owner.get("servers")):
                return _filled(mapping(servers[0]))
        raise Unsupported("the document has no server; send base_url")

    def followed(self, part: object) -> Mapping[str, object]:
        """The object itself, or what its `$ref` leads to.

        Raises:
            Unsupported: that is not in the document.
        """
        for _ in range(_CHAIN):
            found = mapping(part)
            if not isinstance(target := found.get("$ref"), str):
                return found
            part = self.at(target)
        raise Unsupported("a $ref leads to a $ref, and so on")

    def at(self, reference: str) -> object:
        """What a reference such as `#/components/schemas/Pet` names.

        Raises:
            Unsupported: nothing within the document.
        """
        place = unquote(reference.removeprefix("#"))
        if not reference.startswith("#") or not pointer.POINTER.fullmatch(place):
            raise Unsupported(f"it refers to {reference[:128]}, which is not in the document")
        try:
            return pointer.found(self.root, place)
        except LookupError:
            message = f"it refers to {reference[:128]}, which the document does not have"
            raise Unsupported(message) from None


def _filled(server: Mapping[str, object]) -> str:
    variables = mapping(server.get("variables"))

    def default(variable: re.Match[str]) -> str:
        return text(mapping(variables.get(variable[1])).get("default"))

    url = _VARIABLE.sub(default, text(server.get("url")))
    if not re.match("https?://", url, re.IGNORECASE):
        raise Unsupported(f"its server is {url[:128] or 'not named'}, no whole URL; send base_url")
    return url


def fault(field: str, problem: str, fix: str) -> InvalidArgument:
    """That a document is none."""
    return invalid(Violation(field, problem, fix), reason="OPENAPI_INVALID")
