"""What a gRPC target may say: checked when a tool is registered, all of it at once. Pure."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Final

from services.chassis.context import IDEMPOTENCY_KEY, REQUEST_KEY, TRACE_KEY
from services.chassis.errors import Violation, invalid
from services.tool_registry.domain import names
from services.tool_registry.domain.targets import Grpc

ADDRESS: Final = "tool.grpc.address"
METHOD: Final = "tool.grpc.method"
METADATA: Final = "tool.grpc.metadata"
SECRET: Final = "tool.grpc.secret"  # noqa: S105 - where it stands in a request
DESCRIPTORS: Final = "tool.grpc.descriptor_set"

MAX_METADATA: Final = 32
MAX_VALUE: Final = 1024
MAX_DESCRIPTORS_BYTES: Final = 512 * 1024

_HOST: Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_METHOD: Final = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)/([A-Za-z_]\w*)", re.ASCII)
_MAX_METHOD: Final = 512
_KEY: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_OURS: Final = frozenset(
    {
        IDEMPOTENCY_KEY,
        REQUEST_KEY,
        TRACE_KEY,
        "tracestate",
        "baggage",
        "content-type",
        "te",
        "host",
        "user-agent",
        "connection",
    }
)
_OUR_BEGINNINGS: Final = ("grpc-", "runplane-")
"""Of gRPC's own keys, and of those that Runplane's services believe."""


def faults(target: Grpc) -> Iterator[Violation]:
    """What is wrong with a target."""
    if not _parts(target.address):
        yield _no_address(target.address)
    if not _method(target.method):
        yield _no_method(target.method)
    if len(target.descriptor_set) > MAX_DESCRIPTORS_BYTES:
        fix = f"send at most {MAX_DESCRIPTORS_BYTES:,} bytes: the files that the method needs"
        yield Violation(DESCRIPTORS, "is too large", fix)
    yield from _metadata_faults(target.metadata)
    if target.secret and not names.SECRET.fullmatch(target.secret):
        fix = "send its name: 1 to 64 of A-Z a-z 0-9 _ . -"
        yield Violation(SECRET, "is not a secret's name", fix)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of `host:port`, an IPv6 address without its brackets.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is something else.
    """
    if (parts := _parts(address)) is None:
        raise invalid(_no_address(address))
    return parts


def service_and_method(method: str) -> tuple[str, str]:
    """The parts of `package.Service/Method`.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is something else.
    """
    if (parts := _method(method)) is None:
        raise invalid(_no_method(method))
    return parts[1], parts[2]


def _parts(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    if not _is_host(host) or not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        return None
    return host.strip("[]"), int(port)


def _method(method: str) -> re.Match[str] | None:
    return _METHOD.fullmatch(method) if len(method) <= _MAX_METHOD else None


def _no_address(address: str) -> Violation:
    fix = "send host:port, such as weather.example:443 or [2001:db8::1]:443"
    return Violation(ADDRESS, f"{address[:64]!r} is not host:port", fix)


def _no_method(method: str) -> Violation:
    fix = "send package.Service/Method, such as weather.v1.WeatherService/GetWeather"
    return Violation(METHOD, f"{method[:64]!r} is not a method", fix)


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.ip_address(host[1:-1]).version == 6 and "%" not in host
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def _metadata_faults(metadata: Mapping[str, str]) -> Iterator[Violation]:
    if len(metadata) > MAX_METADATA:
        yield Violation(METADATA, f"has more than {MAX_METADATA} entries", "send fewer")
        return
    for key, value in metadata.items():
        where = f"{METADATA}.{key[:64]}"
        if not _KEY.fullmatch(key) or key.endswith("-bin"):
            fix = "use a-z 0-9 _ . -, and no -bin at the end: values are text"
            yield Violation(where, "is not a key of metadata", fix)
        elif key == "authorization":
            yield Violation(where, "would be kept as it stands", f"name a secret in {SECRET}")
        elif key in _OURS or key.startswith(_OUR_BEGINNINGS):
            yield Violation(where, "is sent by the registry or by gRPC itself", "leave it out")
        elif not _VALUE.fullmatch(value) or len(value) > MAX_VALUE:
            fix = f"send at most {MAX_VALUE} printable ASCII characters"
            yield Violation(where, "is not a value of metadata", fix)
