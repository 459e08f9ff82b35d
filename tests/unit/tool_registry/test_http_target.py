"""What an HTTP target may say when a tool is registered."""

from collections.abc import Mapping

import pytest

from services.tool_registry.domain.http_target import faults, host_of
from services.tool_registry.domain.targets import Http, HttpAuth
from tests.unit.tool_registry.entries import inputs

URL = "https://api.example/v1/cities/{city}"
SCHEMA = inputs("city", "unit", "lang", required=["city"])


def fields(target: Http, schema: Mapping[str, object] = SCHEMA) -> set[str]:
    """Where a target has faults."""
    found = list(faults(target, schema))
    assert all(each.message and each.suggested_fix for each in found)
    return {each.field for each in found}


@pytest.mark.parametrize(
    "target",
    [
        Http("GET", URL),
        Http("GET", "http://[2606:4700::1111]:8080/{city}?format=json"),
        Http("GET", "HTTPS://api.example"),
        Http("DELETE", "https://api.example/a%20b/{city}.json"),
        Http("GET", URL, query=("unit",), header_fields={"Accept-Language": "lang"}),
        Http("POST", "https://api.example/x", headers={"X-Kind": "a b; c"}, result="/a~1b/0/~0"),
        Http("PATCH", URL, headers={"Content-Type": "application/merge-patch+json"}),
        Http("PUT", URL, query=("lang",), body="unit"),
        Http("GET", URL, auth=HttpAuth("bearer", "my-key_1.x")),
        Http("GET", URL, auth=HttpAuth("basic", "key")),
        Http("GET", URL, auth=HttpAuth("header", "key", "X-Api-Key")),
        Http("GET", URL, auth=HttpAuth("header", "key", "Authorization")),
        Http("GET", URL, auth=HttpAuth("query", "key", "api_key")),
    ],
)
def test_a_target_like_this_is_taken(target: Http) -> None:
    assert fields(target) == set()


@pytest.mark.parametrize(
    "method", ["get", "HEAD", "CONNECT", "TRACE", "OPTIONS", "", "GET\r\nX: y"]
)
def test_a_method_is_one_of_five(method: str) -> None:
    assert fields(Http(method, URL)) == {"tool.http.method"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v1/cities",
        "api.example/v1",
        "ftp://api.example/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:pw@api.example/",
        "https://user@api.example/",
        "https://api.example\\@evil.example/",
        "https://api.example/a b",
        "https://api.example/a\r\nHost: evil",
        "https://api.example/#part",
        "https://bücher.example/",
        "https://api.example:0/",
        "https://api.example:65536/",
        "https://api.example:x/",
        "https://api.example/%zz",
        "https://api.example/a/../b",
        "https://api.example/a/%2e%2E/b",
        "https://api.example/./b",
        "https://api.example/..",
        "https://{city}.example/",
        "https://{city}/",
        "https://api.example:{city}/",
        "https://api.example/?q={city}",
        "{city}://api.example/",
        "https://api.example/{}",
        "https://api.example/{city",
        "https://api.example/city}",
        "https://api.example/{{city}}",
        "https://api.example/" + "a" * 2048,
    ],
)
def test_a_url_that_no_tool_has_is_refused(url: str) -> None:
    assert fields(Http("GET", url)) == {"tool.http.url"}


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (Http("GET", "https://api.example/{town}"), "tool.http.url"),
        (Http("GET", "https://api.example/{unit}"), "tool.http.url"),
        (Http("GET", "https://api.example/{city}/{city}"), "tool.http.url"),
        (Http("GET", URL, query=("town",)), "tool.http.query"),
        (Http("GET", URL, query=("city",)), "tool.http.query"),
        (Http("GET", URL, query=("unit", "unit")), "tool.http.query"),
        (Http("GET", URL, header_fields={"X-A": "town"}), "tool.http.header_fields"),
        (Http("GET", URL, header_fields={"X-A": "city"}), "tool.http.header_fields"),
        (Http("GET", URL, header_fields={"X-A": "unit", "X-B": "unit"}), "tool.http.header_fields"),
        (Http("POST", URL, body="town", query=("unit", "lang")), "tool.http.body"),
        (Http("POST", URL, body="city", query=("unit", "lang")), "tool.http.body"),
        (Http("POST", URL, body="unit"), "tool.http.body"),
        (Http("GET", URL, body="unit", query=("lang",)), "tool.http.body"),
        (Http("DELETE", URL, body="unit", query=("lang",)), "tool.http.body"),
        (Http("GET", URL, query=("unit",) * 200), "tool.http"),
    ],
)
def test_every_field_is_of_the_input_and_has_one_place(target: Http, field: str) -> None:
    assert fields(target) == {field}


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-Anything",
        "Runplane-Tenant",
        "runplane-anything",
        "Expect",
        "Accept-Encoding",
        "Idempotency-Key",
        "traceparent",
        "Authorization",
        "Cookie",
        "",
        "X Y",
        "X:Y",
        "X\r\nY",
        "Ü",
        "x" * 129,
    ],
)
def test_headers_that_are_not_the_targets_are_refused(name: str) -> None:
    assert fields(Http("GET", URL, headers={name: "v"})) == {f"tool.http.headers.{name[:64]}"}
    assert fields(Http("GET", URL, header_fields={name: "unit"})) == {
        f"tool.http.header_fields.{name[:64]}"
    }


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "\x00", " a", "a ", "ü", "a" * 4097])
def test_the_value_of_a_header_is_one_line_of_ascii(value: str) -> None:
    assert fields(Http("GET", URL, headers={"X-A": value})) == {"tool.http.headers.X-A"}


@pytest.mark.parametrize(
    "target",
    [
        Http("GET", URL, headers={"X-A": "1", "x-a": "2"}),
        Http("GET", URL, headers={"X-A": "1"}, header_fields={"x-a": "unit"}),
        Http("POST", URL, headers={"Content-Type": "text/plain"}),
        Http("POST", URL, header_fields={"Content-Type": "unit"}),
        Http("GET", URL, headers={f"X-{number}": "v" for number in range(65)}),
    ],
)
def test_headers_do_not_contradict_each_other(target: Http) -> None:
    assert len(fields(target)) == 1


@pytest.mark.parametrize("pointer", ["a", "/a~", "/a~2", "a/b", "#/a", "/" + "a" * 512])
def test_the_place_of_the_result_is_a_json_pointer(pointer: str) -> None:
    assert fields(Http("GET", URL, result=pointer)) == {"tool.http.result"}


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (HttpAuth("digest", "key"), "scheme"),
        (HttpAuth("", "key"), "scheme"),
        (HttpAuth("bearer", ""), "secret"),
        (HttpAuth("bearer", "../key"), "secret"),
        (HttpAuth("bearer", ".key"), "secret"),
        (HttpAuth("bearer", "k" * 65), "secret"),
        (HttpAuth("bearer", "key", "X-Api-Key"), "name"),
        (HttpAuth("basic", "key", "X-Api-Key"), "name"),
        (HttpAuth("header", "key"), "name"),
        (HttpAuth("query", "key"), "name"),
        (HttpAuth("header", "key", "Host"), "name"),
        (HttpAuth("header", "key", "Cookie"), "name"),
        (HttpAuth("header", "key", "X\r\nY"), "name"),
        (HttpAuth("header", "key", "x-kind"), "name"),
        (HttpAuth("query", "key", "unit"), "name"),
        (HttpAuth("query", "key", "k" * 129), "name"),
    ],
)
def test_auth_is_of_a_known_kind_and_in_nobodys_way(auth: HttpAuth, field: str) -> None:
    target = Http("GET", URL, headers={"X-Kind": "a"}, auth=auth)

    assert fields(target) == {f"tool.http.auth.{field}"}


def test_all_faults_are_told_at_once() -> None:
    target = Http("SEND", "nowhere", query=("x",), result="x", auth=HttpAuth("x", "y"))

    assert len(fields(target)) == 5


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (URL, "api.example"),
        ("http://[::1]:80/", "[::1]"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("nowhere", ""),
    ],
)
def test_the_host_of_a_url_is_found(url: str, host: str) -> None:
    assert host_of(url) == host
