"""Bounds and forms of what a tool says, each with the field that breaks them."""

from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument
from services.tool_registry.domain import checks
from services.tool_registry.domain.targets import Builtin, Grpc, Http, HttpAuth, Mcp, Target
from services.tool_registry.domain.tool import Default, Example
from tests.unit.tool_registry.fakes import entry

BARE = "https://x.example/"
URL = f"{BARE}{{place}}"


def fields_of(**changes: object) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        checks.check(entry(**changes))
    assert all(each.message and each.suggested_fix for each in caught.value.violations)
    return [each.field for each in caught.value.violations]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": ""}, ["tool.name"]),
        ({"name": "a b"}, ["tool.name"]),
        ({"name": "x" * 65}, ["tool.name"]),
        ({"version": "1"}, ["tool.version"]),
        ({"description": "x" * 8193}, ["tool.description"]),
        ({"title": "x" * 257}, ["tool.title"]),
        ({"description": "a\x00b"}, ["tool.description"]),
        ({"description": "a\x1b[2Jb"}, ["tool.description"]),
        ({"title": "a\u202eb"}, ["tool.title"]),
        ({"title": "a\x85b"}, ["tool.title"]),
        ({"title": "a\u2066b"}, ["tool.title"]),
        ({"timeout": timedelta(hours=1, milliseconds=1)}, ["tool.timeout_ms"]),
        ({"timeout": timedelta(microseconds=500)}, ["tool.timeout_ms"]),
        ({"max_concurrency": -1}, ["tool.max_concurrency"]),
        ({"max_concurrency": 10_001}, ["tool.max_concurrency"]),
        ({"tags": tuple(f"t{n}" for n in range(17))}, ["tool.tags"]),
        ({"tags": ("Weather",)}, ["tool.tags[0]"]),
        ({"tags": ("a", "a")}, ["tool.tags[1]"]),
        ({"tags": ("a", "", "x" * 65)}, ["tool.tags[1]", "tool.tags[2]"]),
        ({"examples": (Example("", {}, None),) * 17}, ["tool.examples"]),
        ({"examples": (Example("x" * 1025, {}, None),)}, ["tool.examples[0].query"]),
        ({"examples": (Example("", {"a": "x" * 65_536}, None),)}, ["tool.examples"]),
        ({"default": Default("x" * 65_536)}, ["tool.default"]),
        ({"title": "x" * 257, "tags": ("A",)}, ["tool.title", "tool.tags[0]"]),
    ],
)
def test_fields_keep_their_bounds(changes: dict[str, object], fields: list[str]) -> None:
    assert fields_of(**changes) == fields


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (Builtin(), ["tool"]),
        (Http("get", URL), ["tool.http.method"]),
        (Http("GET", "x.example"), ["tool.http.url"]),
        (Http("GET", "ftp://x.example"), ["tool.http.url"]),
        (Http("GET", "https://"), ["tool.http.url"]),
        (Http("GET", "https://[::1"), ["tool.http.url"]),
        (Http("GET", "https://user:pass@x.example"), ["tool.http.url"]),
        (Http("GET", "https://x.example/\n"), ["tool.http.url"]),
        (Http("GET", "https://x.example/" + "x" * 2048), ["tool.http.url"]),
        (Http("GET", URL, ("",)), ["tool.http.query"]),
        (Http("GET", URL, ("q",) * 129), ["tool.http"]),
        (Http("GET", URL, headers={"a b": "c"}), ["tool.http.headers.a b"]),
        (Http("GET", URL, headers={"A": "b\r\nC: d"}), ["tool.http.headers.A"]),
        (Http("GET", URL, headers={"A": "x" * 4097}), ["tool.http.headers.A"]),
        (Http("GET", URL, headers={f"H{n}": "" for n in range(65)}), ["tool.http.headers"]),
        (Http("GET", BARE, header_fields={"": "place"}), ["tool.http.header_fields."]),
        (Http("POST", URL, body="x"), ["tool.http.body"]),
        (Http("GET", URL, result="data"), ["tool.http.result"]),
        (Http("GET", URL, auth=HttpAuth("digest", "key")), ["tool.http.auth.scheme"]),
        (Http("GET", URL, auth=HttpAuth("header", "key")), ["tool.http.auth.name"]),
        (Http("GET", URL, auth=HttpAuth("bearer", "../key")), ["tool.http.auth.secret"]),
        (Grpc("x.example", "a.B/C"), ["tool.grpc.address"]),
        (Grpc("x.example:1", "/a.B/C"), ["tool.grpc.method"]),
        (Grpc("x.example:1", "a.B/C", descriptor_set=b"x" * 524_289), ["tool.grpc.descriptor_set"]),
        (Grpc("x.example:1", "a.B/C", metadata={"Key": "v"}), ["tool.grpc.metadata.Key"]),
        (Grpc("x.example:1", "a.B/C", secret="/etc"), ["tool.grpc.secret"]),  # noqa: S106
        (Mcp("", "x"), ["tool.mcp.server"]),
        (Mcp("x", "y" * 129), ["tool.mcp.tool"]),
    ],
)
def test_targets_keep_their_bounds(target: Target, fields: list[str]) -> None:
    assert fields_of(target=target) == fields


@pytest.mark.parametrize(
    "target",
    [
        Http("GET", "http://127.0.0.1:8080/x?y=z", (), {"A": "e"}, {"B": "place"}, "", "/a/0"),
        Http("POST", URL, auth=HttpAuth("query", "my.key-1", "api_key")),
        Grpc("[::1]:50051", "Service/Method", tls=True, metadata={"x-key": "v"}, secret="k"),  # noqa: S106
        Grpc("weather.internal:443", "weather.v1.WeatherService/GetWeather"),
        Mcp("files", "read file"),
    ],
)
def test_targets_that_can_be_are_let_through(target: Target) -> None:
    checks.check(entry(target=target))


def test_a_description_may_have_lines_and_columns() -> None:
    checks.check(entry(description="one\n\ttwo, שתיים"))
