"""The request that a target makes of an input."""

import json
from collections.abc import Mapping
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given
from hypothesis.strategies import characters, sampled_from, text

from services.chassis.errors import InvalidArgument
from services.tool_registry.domain.http_request import Prepared, Template
from services.tool_registry.domain.targets import Http
from tests.unit.tool_registry.entries import inputs

URL = "https://api.example/v1/cities/{city}"


def prepared(target: Http, **arguments: object) -> Prepared:
    """The request of an input whose fields are these, and `more`, which is left out."""
    return Template(target, inputs(*arguments, "more")).prepared(arguments)


def refused(target: Http, **arguments: object) -> Mapping[str, str]:
    """Why an input is refused."""
    with pytest.raises(InvalidArgument) as caught:
        prepared(target, **arguments)
    assert caught.value.reason == "TOOL_INPUT_INVALID"
    return caught.value.metadata


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("Paris", "Paris"),
        ("New York", "New%20York"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("Zürich", "Z%C3%BCrich"),
        ("100%25", "100%2525"),
        ("a..b", "a..b"),
        ("...", "..."),
        ("{city}", "%7Bcity%7D"),
        ("a\r\nb", "a%0D%0Ab"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (["a", "b/c", 1], "a,b%2Fc,1"),
    ],
)
def test_a_value_in_the_path_is_encoded(value: object, segment: str) -> None:
    assert prepared(Http("GET", URL), city=value).url == f"https://api.example/v1/cities/{segment}"


@pytest.mark.parametrize(
    "value",
    ["", None, [], [""], "..", ".", "../admin", "a/../../b", "a\\..\\b", "x/.", ["a", ".."], {}],
)
def test_a_value_in_the_path_leads_nowhere_else(value: object) -> None:
    metadata = refused(Http("GET", URL), city=value)

    assert metadata["field"] == "input.city"
    assert metadata["suggested_fix"]


@given(text(characters(exclude_categories=["Cs"]) | sampled_from("./\\%?#")))
def test_no_value_leaves_its_segment(value: str) -> None:
    try:
        url = httpx2.URL(prepared(Http("GET", f"{URL}/mayor"), city=value).url)
    except InvalidArgument:
        return

    first, *segments = url.raw_path.decode().split("/")
    assert (url.host, first, url.query, url.fragment) == ("api.example", "", b"", "")
    assert segments == ["v1", "cities", quote(value, safe=""), "mayor"]


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({"q": "a&b=c d+e"}, "?q=a%26b%3Dc%20d%2Be"),
        ({"q": ["a", 1, False]}, "?q=a&q=1&q=false"),
        ({"q": []}, ""),
        ({"q": None}, ""),
        ({}, ""),
        ({"q": "x", "rest": 2}, "?q=x&rest=2"),
    ],
)
def test_values_go_into_the_query_string(arguments: Mapping[str, object], query: str) -> None:
    target = Http("GET", "https://api.example/find", query=("q",))

    assert prepared(target, **arguments).url == f"https://api.example/find{query}"


def test_the_query_of_the_template_is_kept() -> None:
    target = Http("GET", "https://api.example/find?format=json", query=("q",))

    assert prepared(target, q="x").url == "https://api.example/find?format=json&q=x"


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [None], [[1]]])
def test_what_has_no_text_is_refused_in_a_query(value: object) -> None:
    target = Http("GET", "https://api.example/find", query=("q",))

    assert refused(target, q=value)["field"] == "input.q"


def test_what_is_left_is_the_body() -> None:
    request = prepared(
        Http("POST", URL, query=("q",), header_fields={"X-Lang": "lang"}),
        city="Paris",
        q=1,
        lang="fr",
        name="ü",
        tags=["a"],
    )

    assert request.url == "https://api.example/v1/cities/Paris?q=1"
    assert request.content == '{"name":"ü","tags":["a"]}'.encode()
    assert request.headers["X-Lang"] == "fr"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("text", ['{"a":null}', "[1]", '"text"', "0", "null", "false"])
def test_one_field_may_be_the_whole_body(text: str) -> None:
    target = Http("PUT", "https://api.example/x", body="document")
    request = Template(target, inputs("document")).prepared({"document": json.loads(text)})

    assert request.content == text.encode()


def test_a_body_that_is_left_out_is_none() -> None:
    target = Http("PUT", "https://api.example/x", body="document")
    request = Template(target, inputs("document")).prepared({})

    assert request.content is None
    assert "content-type" not in request.headers


def test_a_body_without_members_is_an_object() -> None:
    assert prepared(Http("POST", URL), city="Paris").content == b"{}"


def test_where_every_field_has_a_place_there_is_no_body() -> None:
    request = Template(Http("POST", URL), inputs("city")).prepared({"city": "Paris"})

    assert request.content is None
    assert "content-type" not in request.headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_left_goes_into_the_query_where_there_is_no_body(method: str) -> None:
    request = prepared(Http(method, URL), city="Paris", n=2)

    assert request.url.endswith("/Paris?n=2")
    assert request.content is None


def test_headers_of_the_target_replace_ours() -> None:
    target = Http(
        "PATCH",
        "https://api.example/x",
        headers={"Accept": "text/csv", "Content-Type": "application/merge-patch+json"},
    )
    request = prepared(target, a=1)

    assert {name.lower(): value for name, value in request.headers.items()} == {
        "accept": "text/csv",
        "accept-encoding": "gzip, deflate",
        "content-type": "application/merge-patch+json",
    }


@pytest.mark.parametrize(
    "value", ["a\r\nX-Evil: 1", "a\nb", "ü", " a", "\x00", {"a": 1}, "a" * 5000]
)
def test_a_value_that_no_header_has_is_refused(value: object) -> None:
    target = Http("GET", "https://api.example/x", header_fields={"X-Lang": "lang"})

    assert refused(target, lang=value)["field"] == "input.lang"


def test_a_header_without_its_field_is_left_out() -> None:
    target = Http("GET", "https://api.example/x", header_fields={"X-Lang": "lang", "X-N": "n"})
    request = prepared(target, lang=None)

    assert {"X-Lang", "X-N"}.isdisjoint(request.headers)


def test_a_url_has_an_end() -> None:
    target = Http("GET", "https://api.example/x", query=("q",))

    assert refused(target, q="x" * 20_000)["field"] == "input"
