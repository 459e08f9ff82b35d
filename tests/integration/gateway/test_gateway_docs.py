"""`/openapi.json` and `/docs`: what they say of the edge, and how they are sent."""

import base64
import hashlib
import re
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import codec
from gateway.app import FILES
from gateway.pages import is_known

pytestmark = pytest.mark.asyncio(loop_scope="module")

VARIABLE = re.compile(r"\{([a-z0-9_.]+)=([^}]+)\}")
SENTENCE = re.compile(r"[A-Z](?:(?!\.\s).){5,200}(?<!\.)\.")


async def description(http: httpx2.AsyncClient) -> dict[str, Any]:
    """What the edge says of itself."""
    found: dict[str, Any] = (await http.get("/openapi.json")).json()
    return found


def path_of(template: str) -> str:
    """A template as OpenAPI writes it."""
    return VARIABLE.sub(lambda found: re.sub(r"\*+", "{" + found[1] + "}", found[2]), template)


async def test_the_description_is_openapi_3_1(http: httpx2.AsyncClient) -> None:
    said = await description(http)

    assert said["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(said).iter_errors()) == []


async def test_every_route_of_the_contracts_is_described_and_no_other(
    http: httpx2.AsyncClient,
) -> None:
    said = await description(http)

    described = {(verb.upper(), path) for path, item in said["paths"].items() for verb in item}
    served = {
        (rule.verb, path_of(rule.template)) for method in codec.methods() for rule in method.rules
    }
    own = {("GET", path) for path in ("/", "/healthz", "/readyz", *FILES)} | {("POST", "/mcp")}
    assert described == served | own


async def test_every_route_that_the_edge_lists_is_described(http: httpx2.AsyncClient) -> None:
    said = await description(http)
    listed = (await http.get("/")).json()["routes"]

    missing = [
        each
        for each in listed
        if each.split(" ")[0].lower() not in said["paths"][path_of(each.split(" ")[1])]
    ]
    assert len(listed) > 90
    assert missing == []


async def test_every_operation_has_an_id_of_its_own_to_name_functions_by(
    http: httpx2.AsyncClient,
) -> None:
    said = await description(http)

    ids = [each.get("operationId") for item in said["paths"].values() for each in item.values()]
    assert None not in ids
    assert len(ids) == len(set(ids))


async def test_a_route_is_described_with_its_contracts_comments(http: httpx2.AsyncClient) -> None:
    said = await description(http)

    invoke = said["paths"]["/v1/agent/invoke"]["post"]
    sent = invoke["requestBody"]["content"]["application/json"]["schema"]
    request = said["components"]["schemas"][sent["$ref"].rsplit("/", 1)[1]]
    assert invoke["summary"].endswith(".")
    assert request["properties"]["query"]["type"] == "string"
    assert request["properties"]["query"]["description"]
    assert invoke["responses"]["default"] == {"$ref": "#/components/responses/Error"}


async def test_an_error_that_the_edge_sends_is_as_it_is_described(http: httpx2.AsyncClient) -> None:
    said = await description(http)
    error = (await http.get("/nowhere")).json()

    assert set(error) <= set(said["components"]["schemas"]["Error"]["properties"])
    assert set(said["components"]["schemas"]["Error"]["required"]) <= set(error)


async def test_the_summary_of_an_operation_is_one_sentence(http: httpx2.AsyncClient) -> None:
    said = await description(http)

    summaries = [each["summary"] for item in said["paths"].values() for each in item.values()]
    assert [each for each in summaries if not SENTENCE.fullmatch(each)] == []


async def test_no_element_of_the_description_is_without_a_comment(http: httpx2.AsyncClient) -> None:
    said = await description(http)

    schemas = said["components"]["schemas"]
    silent = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, each in schema.get("properties", {}).items()
        if not each.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("path", FILES)
async def test_who_has_it_already_is_told_so(http: httpx2.AsyncClient, path: str) -> None:
    first = await http.get(path)

    again = await http.get(path, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    other = await http.get(path, headers={"If-None-Match": '"other"'})

    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert (again.content, again.headers["etag"]) == (b"", first.headers["etag"])
    assert other.content == first.content


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        (b"", False),
        (b"*", True),
        (b'"a"', True),
        (b'W/"a"', True),
        (b'"b", "a"', True),
        (b"a", False),
    ],
)
async def test_a_tag_is_known_where_the_client_says_so(said: bytes, is_so: bool) -> None:
    assert is_known(said, b'"a"') is is_so


async def test_the_page_takes_nothing_from_the_network(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/docs")

    policy = reply.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", reply.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; connect-src 'self'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert re.findall(r"(?:https?:)?//[a-z]|innerHTML|<link|<img|src=", reply.text) == []


@pytest.mark.parametrize("path", FILES)
async def test_a_head_of_it_has_no_body(http: httpx2.AsyncClient, path: str) -> None:
    whole = await http.get(path)

    reply = await http.head(path)

    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["content-length"]) == len(whole.content)
