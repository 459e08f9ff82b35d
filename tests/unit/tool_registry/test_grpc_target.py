"""Which gRPC targets there may be."""

import pytest

from services.tool_registry.adapters.grpc.channels import target_of
from services.tool_registry.domain.grpc_target import MAX_DESCRIPTORS_BYTES, faults, host_and_port
from services.tool_registry.domain.targets import Grpc

METHOD = "places.v1.PlaceService/GetPlace"


def fields_of(target: Grpc) -> list[str]:
    """Where its faults are."""
    return [each.field for each in faults(target)]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("localhost:50051", ("localhost", 50051)),
        ("places.example.:443", ("places.example.", 443)),
        ("place_service:1", ("place_service", 1)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]:443", ("::1", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "localhost:",
        ":443",
        "localhost:0",
        "localhost:65536",
        "localhost:٣",
        "http://localhost:443",
        "dns:///localhost:443",
        "unix:/tmp/socket",
        "a b:443",
        "a,b:443",
        "::1:443",
        "[localhost]:443",
        "[fe80::1%eth0]:443",
        "-a:443",
        "a..b:443",
        f"{'a' * 254}:443",
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    assert fields_of(Grpc(address, METHOD)) == ["tool.grpc.address"]


@pytest.mark.parametrize(
    "method", ["", "GetPlace", "/a.B/C", "a.B/C/D", "a..B/C", "a.B/", "a.B/C\n", "ü.B/C", "a" * 600]
)
def test_anything_but_a_service_and_a_method_is_no_method(method: str) -> None:
    assert fields_of(Grpc("localhost:1", method)) == ["tool.grpc.method"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("", "x"),
        ("data-bin", "x"),
        ("authorization", "Bearer x"),
        ("grpc-timeout", "1S"),
        ("runplane-tenant", "victim"),
        ("runplane-anything", "x"),
        ("x-request-id", "x"),
        ("tracestate", "x"),
        ("baggage", "x"),
        ("traceparent", "x"),
        ("idempotency-key", "x"),
        ("x-a", "line\nbreak"),
        ("x-a", "ü"),
        ("x-a", "x" * 2000),
    ],
)
def test_metadata_that_cannot_be_sent_is_refused(key: str, value: str) -> None:
    assert fields_of(Grpc("localhost:1", METHOD, metadata={key: value})) == [
        f"tool.grpc.metadata.{key}"
    ]


def test_there_is_a_bound_on_metadata() -> None:
    many = {f"x-{number}": "" for number in range(33)}
    assert fields_of(Grpc("localhost:1", METHOD, metadata=many)) == ["tool.grpc.metadata"]


def test_there_is_a_bound_on_descriptors() -> None:
    raw = b"x" * (MAX_DESCRIPTORS_BYTES + 1)

    assert fields_of(Grpc("localhost:1", METHOD, descriptor_set=raw)) == [
        "tool.grpc.descriptor_set"
    ]


def test_all_faults_are_told_at_once() -> None:
    target = Grpc("localhost", "/GetPlace", metadata={"Upper": "x"}, secret="/etc")  # noqa: S106

    assert fields_of(target) == [
        "tool.grpc.address",
        "tool.grpc.method",
        "tool.grpc.metadata.Upper",
        "tool.grpc.secret",
    ]


@pytest.mark.parametrize("secret", ["../etc/passwd", "a/b", ".hidden", "x" * 65])
def test_what_is_no_name_of_a_secret_is_refused(secret: str) -> None:
    assert fields_of(Grpc("localhost:1", METHOD, secret=secret)) == ["tool.grpc.secret"]


@pytest.mark.parametrize(
    ("addresses", "target"),
    [
        (["192.0.2.1"], "ipv4:192.0.2.1:443"),
        (["192.0.2.1", "192.0.2.2"], "ipv4:192.0.2.1:443,192.0.2.2:443"),
        (["2001:db8::1"], "ipv6:[2001:db8::1]:443"),
        (["2001:db8::1", "192.0.2.1"], "ipv6:[2001:db8::1]:443,[::ffff:192.0.2.1]:443"),
    ],
)
def test_connections_go_to_the_checked_addresses(addresses: list[str], target: str) -> None:
    assert target_of(addresses, 443) == target
