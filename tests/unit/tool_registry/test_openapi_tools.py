"""OpenAPI documents, as tools."""

from collections.abc import Mapping
from typing import cast

import pytest

from services.tool_registry.domain.names import NAME, RESERVED
from services.tool_registry.domain.openapi.tools import Planned, Wanted, planned
from services.tool_registry.domain.targets import Http, HttpAuth
from services.tool_registry.domain.tool import Definition, Entry
from tests.unit.tool_registry.documents import PET, answers, document, only, operation

BEARER = HttpAuth("bearer", "key")
JSON_BODY = {"content": {"application/json": {"schema": PET}}}


def entry(plan: Planned) -> Entry:
    """The tool of an operation that is one."""
    assert plan.entry is not None, plan.reason
    return plan.entry


def target(plan: Planned) -> Http:
    """Where it runs."""
    return cast("Http", entry(plan).target)


def definition(plan: Planned) -> Definition:
    """What callers may rely on."""
    return entry(plan).definition


def properties(plan: Planned) -> Mapping[str, object]:
    """The fields of its input."""
    return cast("Mapping[str, object]", definition(plan).input_schema.document["properties"])


def parameter(name: str, where: str, **about: object) -> dict[str, object]:
    """A parameter that is a text."""
    return {"name": name, "in": where, "schema": {"type": "string"}, **about}


def test_an_operation_is_a_tool() -> None:
    plan = only(
        {
            "operationId": "getPet",
            "summary": "Returns a pet.",
            "description": "By its\n number.",
            "tags": ["Pet Store", "äö", "pets"],
            "parameters": [
                parameter("id", "path", required=True, description="Its number"),
                parameter("lang", "query", deprecated=True),
                parameter(
                    "X-Kind",
                    "header",
                    schema={"$ref": "#/components/schemas/Owner/properties/name"},
                ),
            ],
            "responses": answers(PET),
        },
        path="/pets/{id}",
        wanted=Wanted("shop", tags=("import",)),
    )

    assert plan.operation == "getPet"
    assert plan.reason == ""
    assert target(plan) == Http(
        "GET",
        "https://api.example/v1/pets/{id}",
        query=("lang",),
        header_fields={"X-Kind": "X-Kind"},
    )
    made = definition(plan)
    assert made.name == "shop__getPet"
    assert made.title == "Returns a pet."
    assert made.description == "Returns a pet. By its number."
    assert made.tags == ("import", "pet-store", "pets")
    assert made.is_idempotent
    assert properties(plan)["id"] == {"description": "Its number", "type": "string"}
    assert properties(plan)["lang"] == {"deprecated": True, "type": "string"}
    assert made.input_schema.document["required"] == ["id"]
    assert made.input_schema.violations({"id": "1", "other": 1})
    assert made.output_schema.violations({"id": 1, "name": "Rex"}) == []
    assert made.output_schema.violations({"id": "x", "name": "Rex"})


def test_a_json_body_is_the_field_body() -> None:
    plan = only({"requestBody": {"required": True, **JSON_BODY}}, method="post")

    assert target(plan).body == "body"
    assert target(plan).headers == {}
    schema = definition(plan).input_schema
    assert schema.document["required"] == ["body"]
    assert schema.violations({"body": {"name": "Rex"}}) == []
    assert schema.violations({"body": {"name": 1}})
    assert not definition(plan).is_idempotent


@pytest.mark.parametrize(
    ("method", "is_idempotent"),
    [("get", True), ("put", True), ("delete", True), ("post", False), ("patch", False)],
)
def test_the_method_says_whether_a_call_may_be_repeated(method: str, is_idempotent: bool) -> None:
    assert definition(only(method=method)).is_idempotent is is_idempotent


def test_another_kind_of_json_is_sent_as_such() -> None:
    media = "application/merge-patch+json"
    plan = only({"requestBody": {"content": {"text/plain": {}, media: {}}}}, method="patch")

    assert target(plan).headers == {"content-type": media}
    assert "required" not in definition(plan).input_schema.document


def test_the_bodys_field_gives_way() -> None:
    plan = only(
        {"parameters": [parameter("body", "query")], "requestBody": JSON_BODY}, method="post"
    )

    assert target(plan).body == "request_body"


@pytest.mark.parametrize(
    ("about", "method", "path", "told"),
    [
        ({}, "head", "/pets", "method is HEAD"),
        ({}, "options", "/pets", "method is OPTIONS"),
        ({}, "trace", "/pets", "method is TRACE"),
        (
            {"requestBody": {"required": True, "content": {"multipart/form-data": {}}}},
            "post",
            "/pets",
            "multipart/form-data",
        ),
        ({"requestBody": {"required": True, **JSON_BODY}}, "delete", "/pets", "with a body"),
        ({"parameters": [parameter("c", "cookie", required=True)]}, "get", "/pets", "cookie"),
        (
            {"parameters": [parameter("q", "query", required=True, style="deepObject")]},
            "get",
            "/pets",
            "deepObject",
        ),
        (
            {"parameters": [parameter("q", "query", required=True, style="pipeDelimited")]},
            "get",
            "/pets",
            "pipeDelimited",
        ),
        (
            {"parameters": [parameter("p", "path", required=True, style="matrix")]},
            "get",
            "/pets/{p}",
            "matrix",
        ),
        (
            {"parameters": [parameter("q", "query", required=True, schema=PET)]},
            "get",
            "/",
            "object",
        ),
        (
            {
                "parameters": [
                    parameter(
                        "q",
                        "query",
                        required=True,
                        explode=False,
                        schema={"type": "array", "items": {"type": "string"}},
                    )
                ]
            },
            "get",
            "/pets",
            "between commas",
        ),
        (
            {"parameters": [parameter("q", "query", required=True, content={})]},
            "get",
            "/pets",
            "document of its own",
        ),
        ({"parameters": [parameter("Host", "header", required=True)]}, "get", "/pets", "header"),
        (
            {"parameters": [parameter("id", "path", required=True), parameter("id", "query")]},
            "get",
            "/pets/{id}",
            "one name",
        ),
        ({}, "get", "/pets/{id}", "no property"),
        ({}, "get", "/pets/../admin", ".."),
        ({"responses": answers({}, "image/png")}, "get", "/pets", "image/png"),
        ({"requestBody": {"$ref": "#/components/requestBodies/No"}}, "post", "/pets", "not have"),
        ({"parameters": [{"$ref": "other.json#/x"}]}, "get", "/pets", "not in the document"),
        (
            {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/no"}}}}},
            "post",
            "/pets",
            "#/no",
        ),
        (
            {
                "parameters": [
                    parameter("q", "query", schema={"type": "string", "pattern": "(?=a)"})
                ]
            },
            "get",
            "/pets",
            "pattern",
        ),
        (
            {"parameters": [parameter("q", "query", schema={"type": "nothing"})]},
            "get",
            "/pets",
            "JSON Schema",
        ),
    ],
)
def test_an_operation_that_cannot_be_a_tool_is_left_out_with_the_reason(
    about: Mapping[str, object], method: str, path: str, told: str
) -> None:
    plan = only(about, method=method, path=path)

    assert plan.entry is None
    assert told in plan.reason


@pytest.mark.parametrize(
    ("about", "method", "told"),
    [
        ({"parameters": [parameter("c", "cookie")]}, "get", "without c"),
        ({"parameters": [parameter("q", "query", style="deepObject")]}, "get", "without q"),
        ({"requestBody": {"content": {"text/csv": {}}}}, "post", "without its body"),
        ({"requestBody": JSON_BODY}, "delete", "without its body"),
        ({"responses": answers({"$ref": "#/no"})}, "get", "results are not checked"),
        ({"responses": answers({"pattern": "(?<a"})}, "get", "results are not checked"),
        ({"security": [{"key": []}]}, "get", "no auth was given"),
    ],
)
def test_what_a_tool_can_do_without_is_said(
    about: Mapping[str, object], method: str, told: str
) -> None:
    plan = only(about, method=method)

    assert plan.entry is not None
    assert told in plan.reason


@pytest.mark.parametrize("name", ["Accept", "content-type", "Authorization", "Idempotency-Key"])
def test_headers_that_are_sent_anyway_are_no_fields(name: str) -> None:
    plan = only({"parameters": [parameter(name, "header", required=True)]}, method="post")

    assert properties(plan) == {}
    assert plan.reason == ""


def test_a_path_shares_its_parameters_and_an_operation_replaces_them() -> None:
    shared = [parameter("id", "path", required=True), parameter("lang", "query")]
    item = {
        "parameters": [*shared, parameter("astray", "path", required=True)],
        "get": operation(parameters=[parameter("lang", "query", schema={"type": "integer"})]),
    }
    (plan,) = planned(document({"/pets/{id}": item}), Wanted("pets"))

    assert properties(plan) == {"id": {"type": "string"}, "lang": {"type": "integer"}}


def test_parts_may_be_referred_to() -> None:
    components = {
        "parameters": {"Limit": parameter("limit", "query", schema={"type": "integer"})},
        "requestBodies": {"Pet": {"required": True, **JSON_BODY}},
        "responses": {"Pet": {"content": {"application/json": {"schema": PET}}}},
        "schemas": {"Pet": {"type": "object", "required": ["id"]}},
        "pathItems": {
            "Pets": {
                "post": operation(
                    parameters=[{"$ref": "#/components/parameters/Limit"}],
                    requestBody={"$ref": "#/components/requestBodies/Pet"},
                    responses={"201": {"$ref": "#/components/responses/Pet"}},
                )
            }
        },
    }
    paths = {"/pets": {"$ref": "#/components/pathItems/Pets"}}
    (plan,) = planned(document(paths, components=components), Wanted("pets"))

    assert set(properties(plan)) == {"limit", "body"}
    assert definition(plan).output_schema.violations({})


@pytest.mark.parametrize(
    ("responses", "good", "bad"),
    [
        (answers(None), [None, 1, {}], []),
        ({}, [None, 1, {}], []),
        ({"default": {"content": {"application/json": {"schema": PET}}}}, [1], []),
        ({"2XX": {"content": {"application/json": {"schema": {"type": "integer"}}}}}, [1], ["x"]),
        (
            {
                "204": {"description": "none"},
                "200": {"content": {"application/json; charset=utf-8": {"schema": PET}}},
            },
            [None, {"id": 1, "name": None}],
            [1],
        ),
        (answers({"type": "string"}, "text/plain"), ["x"], []),
        (answers({"type": "integer"}, "*/*"), [1], ["x"]),
    ],
)
def test_results_are_what_the_first_good_answer_has(
    responses: Mapping[str, object], good: list[object], bad: list[object]
) -> None:
    output = definition(only({"responses": responses})).output_schema

    assert all(output.is_valid(value) for value in good)
    assert not any(output.is_valid(value) for value in bad)


@pytest.mark.parametrize(
    ("about", "root", "has_auth"),
    [
        ({}, {}, True),
        ({}, {"security": [{"key": []}]}, True),
        ({"security": []}, {"security": [{"key": []}]}, False),
        ({"security": [{"key": []}]}, {"security": []}, True),
        ({}, {"security": []}, False),
    ],
)
def test_auth_goes_where_it_is_asked_for(
    about: Mapping[str, object], root: Mapping[str, object], has_auth: bool
) -> None:
    plan = only(about, wanted=Wanted("pets", auth=BEARER), **root)

    assert (target(plan).auth == BEARER) is has_auth


@pytest.mark.parametrize(
    "auth", [HttpAuth("query", "key", "api_key"), HttpAuth("header", "key", "API_KEY")]
)
def test_the_parameter_of_the_secret_is_no_field(auth: HttpAuth) -> None:
    fields = [parameter("api_key", auth.scheme, required=True), parameter("lang", "query")]
    plan = only({"parameters": fields}, wanted=Wanted("pets", auth=auth))

    assert set(properties(plan)) == {"lang"}


@pytest.mark.parametrize(
    ("root", "base_url", "url"),
    [
        ({}, "", "https://api.example/v1/pets"),
        ({}, "http://other.example:81/", "http://other.example:81/pets"),
        ({"servers": [{"url": "/v1"}]}, "https://x.example", "https://x.example/pets"),
        (
            {
                "servers": [
                    {
                        "url": "https://{region}.example/{base}",
                        "variables": {"region": {"default": "eu"}, "base": {"default": "v2"}},
                    }
                ]
            },
            "",
            "https://eu.example/v2/pets",
        ),
    ],
)
def test_operations_are_at_the_server(root: Mapping[str, object], base_url: str, url: str) -> None:
    assert target(only(wanted=Wanted("pets", base_url=base_url), **root)).url == url


def test_an_operation_may_have_a_server_of_its_own() -> None:
    plan = only({"servers": [{"url": "https://own.example"}]})

    assert target(plan).url == "https://own.example/pets"


@pytest.mark.parametrize("servers", [[], [{"url": "/v1"}], [{"url": "{scheme}://x"}], [{}], ["x"]])
def test_without_a_whole_url_there_is_no_tool(servers: object) -> None:
    plan = only(servers=servers)

    assert plan.entry is None
    assert "send base_url" in plan.reason


def test_names_are_sanitised_numbered_and_bounded() -> None:
    ids = ["get pet", "get/pet", "get.pet", "x" * 80, "x" * 81, "äöü", ""]
    paths = {
        f"/{number}": {"get": operation(operationId=each) if each else {"responses": {}}}
        for number, each in enumerate(ids)
    }
    made = [definition(plan).name for plan in planned(document(paths), Wanted("pets"))]

    assert made == [
        "pets__get_pet",
        "pets__get_pet_2",
        "pets__get_pet_3",
        "pets__" + "x" * 58,
        "pets__" + "x" * 56 + "_2",
        "pets__operation",
        "pets__GET_6",
    ]
    assert all(NAME.fullmatch(name) and not RESERVED.fullmatch(name) for name in made)


def test_what_came_in_any_order_is_planned_in_one() -> None:
    paths = {path: {"get": operation(operationId="same")} for path in ("/b", "/a", "/c")}
    again = dict(reversed(paths.items()))
    plans = planned(document(paths), Wanted("pets"))

    assert [target(plan).url[-2:] for plan in plans] == ["/a", "/b", "/c"]
    assert [entry(plan).definition.name for plan in plans] == [
        entry(plan).definition.name for plan in planned(document(again), Wanted("pets"))
    ]


def test_some_operations_may_be_wanted_and_keep_their_names() -> None:
    paths = {path: {"get": operation(operationId="same")} for path in ("/a", "/b")}
    paths["/c"] = {"get": {"responses": {}}}
    plans = planned(document(paths), Wanted("pets", operations=("GET /c", "same")))

    assert [definition(plan).name for plan in plans] == [
        "pets__same",
        "pets__same_2",
        "pets__GET_c",
    ]


def test_a_deprecated_operation_is_a_deprecated_tool() -> None:
    made = entry(only({"deprecated": True}))

    assert made.is_deprecated
    assert made.deprecation


@pytest.mark.parametrize(
    ("about", "description"),
    [
        ({"summary": "Lists pets"}, "Lists pets"),
        ({"description": "All of them."}, "All of them."),
        ({"summary": "Lists", "description": "Lists them all."}, "Lists them all."),
        ({}, "GET /pets"),
        ({"description": "x" * 5000}, "x" * 1023 + "…"),
    ],
)
def test_a_description_is_made_of_what_there_is(
    about: Mapping[str, object], description: str
) -> None:
    assert definition(only(about)).description == description
