"""What a gRPC target may say; pure."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Final

from services.chassis.context import IDEMPOTENCY_KEY, TRACE_KEY
from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.targets import Grpc

ADDRESS: Final = "tool.grpc.address"
METHOD: Final = "tool.grpc.method"
METADATA: Final = "tool.grpc.metadata"
SECRET: Final = "tool.grpc.secret"  # noqa: S105 - where it stands in a request
DESCRIPTORS: Final = "tool.grpc.descriptor_set"

MAX_METADATA: Final = 32
MAX_VALUE: Final = 1024

_HOST: Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_METHOD: Final = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)/([A-Za-z_]\w*)", re.ASCII)
_MAX_METHOD: Final = 512
_KEY: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OURS: Final = frozenset(
    {IDEMPOTENCY_KEY, TRACE_KEY, "content-type", "te", "host", "user-agent", "connection"}
)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of `host:port`, an IPv6 address without its brackets.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is something else.
    """
    host, _, port = address.rpartition(":")
    if not _is_host(host) or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        fix = "send host:port, such as weather.example:443 or [2001:db8::1]:443"
        raise invalid(Violation(ADDRESS, f"{address[:64]!r} is not host:port", fix))
    return host.strip("[]"), int(port)


def service_and_method(method: str) -> tuple[str, str]:
    """The parts of `package.Service/Method`.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is something else.
    """
    parts = _METHOD.fullmatch(method) if len(method) <= _MAX_METHOD else None
    if parts is None:
        fix = "send package.Service/Method, such as weather.v1.WeatherService/GetWeather"
        raise invalid(Violation(METHOD, f"{method[:64]!r} is not a method", fix))
    return parts[1], parts[2]


def check(target: Grpc) -> None:
    """Refuse what cannot be asked for anything. Raises InvalidArgument `INVALID_REQUEST`."""
    host_and_port(target.address)
    service_and_method(target.method)
    violations = list(_metadata_faults(target.metadata))
    if target.secret and not _SECRET_NAME.fullmatch(target.secret):
        fix = "send its name: 1 to 64 of A-Z a-z 0-9 _ . -"
        violations.append(Violation(SECRET, "is not a secret's name", fix))
    if violations:
        raise invalid(*violations)


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
        elif key in _OURS or key.startswith("grpc-"):
            yield Violation(where, "is sent by the registry or by gRPC itself", "leave it out")
        elif not _VALUE.fullmatch(value) or len(value) > MAX_VALUE:
            fix = f"send at most {MAX_VALUE} printable ASCII characters"
            yield Violation(where, "is not a value of metadata", fix)
