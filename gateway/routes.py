"""Which endpoint a method and a path mean: literal paths by dictionary, the others by a tree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from gateway.templates import ONE, REST, Template, captured
from services.chassis.errors import InvalidArgument, NotFound

Endpoint = TypeVar("Endpoint")

_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Route(Generic[Endpoint]):
    """A template with what answers it."""

    method: str
    template: Template
    endpoint: Endpoint
    has_head: bool = True
    """Of `GET`: whether `HEAD` is answered as well."""


@dataclass(slots=True)
class _Node(Generic[Endpoint]):
    literals: "dict[str, _Node[Endpoint]]" = field(default_factory=dict)
    one: "_Node[Endpoint] | None" = None
    rest: "_Node[Endpoint] | None" = None
    verbs: dict[str, dict[str, Route[Endpoint]]] = field(default_factory=dict)
    """Routes that end here, by verb and method."""


class Router(Generic[Endpoint]):
    """All routes. A literal segment goes before `*`, and `*` before `**`."""

    def __init__(self, routes: Iterable[Route[Endpoint]]) -> None:
        self._literal: dict[str, dict[str, Route[Endpoint]]] = {}
        self._root: _Node[Endpoint] = _Node()
        self._verbs: set[str] = set()
        for each in routes:
            self._add(each)

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """The endpoint, and the values of the template's variables by field.

        Raises:
            NotFound: `ROUTE_NOT_FOUND`.
            InvalidArgument: `METHOD_NOT_ALLOWED`, whose metadata `allow` lists those that are; or
                a variable that is no text.
        """
        if (methods := self._literal.get(path)) is not None:
            return self._allowed(methods, method, path).endpoint, _NOTHING
        segments, methods = self._templated(path)
        route = self._allowed(methods, method, path)
        return route.endpoint, {
            each.field: captured(each, segments) for each in route.template.captures
        }

    def allowed(self, path: str) -> list[str]:
        """The methods that a path takes. Raises `NotFound`: `ROUTE_NOT_FOUND`."""
        return _methods(self._literal.get(path) or self._templated(path)[1])

    def _templated(self, path: str) -> tuple[list[str], dict[str, Route[Endpoint]]]:
        segments = path[1:].split("/")
        head, colon, verb = segments[-1].rpartition(":")
        if colon and verb in self._verbs:
            spoken = [*segments[:-1], head]
            if (methods := _match(self._root, spoken, 0, verb)) is not None:
                return spoken, methods
        # Ids and names have no colon: what stands behind one is a verb, and this one is none.
        if not colon and (methods := _match(self._root, segments, 0, "")) is not None:
            return segments, methods
        raise NotFound(
            "ROUTE_NOT_FOUND",
            f"there is nothing at {path[:200]}",
            path=path[:200],
            suggested_fix="GET / lists where to look",
        )

    def _allowed(
        self, methods: dict[str, Route[Endpoint]], method: str, path: str
    ) -> Route[Endpoint]:
        if (route := methods.get(method)) is not None:
            return route
        if method == "HEAD" and "HEAD" in _methods(methods):
            return methods["GET"]
        allow = ", ".join(_methods(methods))
        raise InvalidArgument(
            "METHOD_NOT_ALLOWED",
            f"{method[:20]} is not offered at {path[:200]}",
            method=method[:20],
            allow=allow,
            suggested_fix=f"use {allow}",
        )

    def _add(self, route: Route[Endpoint]) -> None:
        template = route.template
        if template.is_literal:
            suffix = f":{template.verb}" if template.verb else ""
            path = "/" + "/".join(template.segments) + suffix
            known = self._literal.setdefault(path, {})
        else:
            known = _leaf(self._root, template).verbs.setdefault(template.verb, {})
            self._verbs.add(template.verb)
        if route.method in known:
            raise ValueError(f"two endpoints answer {route.method} {template}")
        known[route.method] = route


def _methods(routes: Mapping[str, Route[Endpoint]]) -> list[str]:
    get = routes.get("GET")
    heads = ["HEAD"] if get is not None and get.has_head else []
    return sorted({*routes, *heads, "OPTIONS"})


def _leaf(node: _Node[Endpoint], template: Template) -> _Node[Endpoint]:
    for segment in template.segments:
        if segment == ONE:
            node.one = node = node.one or _Node()
        elif segment == REST:
            node.rest = node = node.rest or _Node()
        else:
            node = node.literals.setdefault(segment, _Node())
    return node


def _match(
    node: _Node[Endpoint], segments: list[str], index: int, verb: str
) -> dict[str, Route[Endpoint]] | None:
    """The routes by method at the best match from here. Depth is bounded by the templates."""
    if index == len(segments):
        if verb in node.verbs:
            return node.verbs[verb]
        return node.rest.verbs.get(verb) if node.rest else None
    segment = segments[index]
    if (inner := node.literals.get(segment)) is not None and (
        found := _match(inner, segments, index + 1, verb)
    ) is not None:
        return found
    if (
        node.one is not None
        and segment
        and (found := _match(node.one, segments, index + 1, verb)) is not None
    ):
        return found
    return node.rest.verbs.get(verb) if node.rest else None
