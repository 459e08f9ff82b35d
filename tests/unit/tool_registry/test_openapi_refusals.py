"""OpenAPI documents that are none, and wishes that cannot be met."""

from collections.abc import Mapping

import pytest

from services.chassis.errors import InvalidArgument
from services.tool_registry.domain.openapi.document import MAX_OPERATIONS
from services.tool_registry.domain.openapi.tools import Wanted, planned
from services.tool_registry.domain.targets import HttpAuth
from tests.unit.tool_registry.documents import document, only


def refusal(root: Mapping[str, object], wanted: Wanted = Wanted("pets")) -> InvalidArgument:  # noqa: B008 - frozen
    """Why a document or what is wanted of it is refused."""
    with pytest.raises(InvalidArgument) as caught:
        planned(root, wanted)
    assert caught.value.metadata["suggested_fix"]
    return caught.value


@pytest.mark.parametrize(
    ("root", "field"),
    [
        ({}, "document.openapi"),
        ({"swagger": "2.0", "paths": {}}, "document.openapi"),
        ({"openapi": "2.0.0"}, "document.openapi"),
        ({"openapi": "3.2.0"}, "document.openapi"),
        ({"openapi": 3.1}, "document.openapi"),
        ({"openapi": "3.1.0"}, "document.paths"),
        ({"openapi": "3.1.0", "paths": []}, "document.paths"),
        (
            {"openapi": "3.1.0", "paths": {"/": {"get": 1, "x": {}}, "x-y": {"get": {}}}},
            "document.paths",
        ),
        (
            document({f"/{number}": {"get": {}} for number in range(MAX_OPERATIONS + 1)}),
            "document.paths",
        ),
        (document(info={"description": "x" * 2 * 1024 * 1024}), "document"),
    ],
)
def test_what_is_no_document_is_refused(root: Mapping[str, object], field: str) -> None:
    error = refusal(root)

    assert error.reason == "OPENAPI_INVALID"
    assert error.metadata["field"] == field


def test_a_document_whose_tools_share_too_much_is_refused() -> None:
    large = {"description": "x" * 50_000}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Large"}}}}
    paths = {
        f"/{number}": {"put": {"requestBody": body, "responses": {"200": body}}}
        for number in range(100)
    }
    error = refusal(document(paths, components={"schemas": {"Large": large}}))

    assert error.reason == "OPENAPI_INVALID"
    assert "its own namespace" in error.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Wanted(""), "namespace"),
        (Wanted("a_b"), "namespace"),
        (Wanted("a" * 33), "namespace"),
        (Wanted("agent"), "namespace"),
        (Wanted("pets", base_url="/v1"), "base_url"),
        (Wanted("pets", base_url="https://x.example/{a}"), "base_url"),
        (Wanted("pets", base_url="https://x.example/?a=b"), "base_url"),
        (Wanted("pets", base_url="https://u:p@x.example/"), "base_url"),
        (Wanted("pets", auth=HttpAuth("digest", "key")), "auth.scheme"),
        (Wanted("pets", auth=HttpAuth("bearer", "")), "auth.secret"),
        (Wanted("pets", auth=HttpAuth("header", "key", "Host")), "auth.name"),
        (Wanted("pets", operations=("op", "no")), "operations[1]"),
        (Wanted("pets", tags=("Upper",)), "tags[0]"),
    ],
)
def test_what_cannot_be_wanted_is_refused(wanted: Wanted, field: str) -> None:
    error = refusal(document(), wanted)

    assert error.reason == "INVALID_REQUEST"
    assert error.metadata["field"] == field


@pytest.mark.parametrize(
    "junk", [None, 1, "x", [], [[]], {"$ref": 1}, {"$ref": "#"}, {"schema": 1}, {"content": "x"}]
)
@pytest.mark.parametrize(
    "place", ["parameters", "requestBody", "responses", "security", "tags", "servers", "summary"]
)
def test_junk_anywhere_is_no_crash(place: str, junk: object) -> None:
    for value in (junk, [junk], {"200": junk}, {"content": {"application/json": junk}}):
        for version in ("3.0.0", "3.1.0"):
            assert only({place: value}, method="post", version=version).operation
