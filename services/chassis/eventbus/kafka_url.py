"""What `kafka://[USER:PASSWORD@]HOST:PORT,HOST:PORT?OPTION=VALUE&…` says. Pure.

Options: `tls=on` (with `ca=FILE` for an authority of one's own), `sasl` (`plain`, `scram-sha-256`
or `scram-sha-512`), `idempotence=off` for brokers that do not have it, `partitions` and
`replication` of topics that are made on first use. User and password may be given apart, so that
the URL holds no secret.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import parse_qsl, unquote

from services.chassis.errors import InvalidArgument, Violation, invalid

Value = TypeVar("Value")

FIX: Final = "use kafka://HOST:9092 or kafka://HOST:9092,HOST:9092?tls=on&sasl=scram-sha-512"
# Python's own splitter takes one host; several in brackets are none to some of its releases.
_URL: Final = re.compile(r"(?i:kafka)://(?P<netloc>[^/?#]*)/?(\?(?P<query>[^#]*))?")
_SERVER: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_SWITCH: Final = {"on": True, "off": False}
_SASL: Final = {
    "plain": "PLAIN",
    "scram-sha-256": "SCRAM-SHA-256",
    "scram-sha-512": "SCRAM-SHA-512",
}
_OPTIONS: Final = frozenset({"tls", "ca", "sasl", "idempotence", "partitions", "replication"})


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a Kafka. Its `repr` holds no password."""

    servers: tuple[str, ...]
    is_tls: bool = False
    ca_file: str | None = None
    sasl: str | None = None
    username: str = ""
    password: "Hidden | None" = None
    is_idempotent: bool = True
    partitions: int = 4
    replication: int = 1

    @property
    def protocol(self) -> str:
        """The name that Kafka has for this kind of connection."""
        return ("SASL_" if self.sasl else "") + ("SSL" if self.is_tls else "PLAINTEXT")


class Hidden(str):
    """A text that is not shown when something that holds it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def parsed(url: str, *, username: str = "", password: str = "") -> Cluster:
    """The cluster at this URL. What the URL says of user and password goes before the rest.

    Raises:
        InvalidArgument: `EVENT_BUS_UNSUPPORTED`. Its words repeat nothing of the user's part.
    """
    if (parts := _URL.fullmatch(url)) is None:
        raise unsupported("is not kafka://HOST:PORT; topics are named where they are used")
    try:
        options = dict(parse_qsl(parts["query"] or "", strict_parsing=bool(parts["query"])))
    except ValueError:
        raise unsupported("is not a URL") from None
    if unknown := sorted(set(options) - _OPTIONS):
        raise unsupported(f"has no option {unknown[0][:64]}")
    who, _, servers = parts["netloc"].rpartition("@")
    user, _, secret = who.partition(":")
    return _cluster(servers, options, unquote(user) or username, unquote(secret) or password)


def unsupported(problem: str) -> InvalidArgument:
    """The setting names no event bus."""
    violation = Violation("RUNPLANE_EVENT_BUS", problem, FIX)
    return invalid(violation, reason="EVENT_BUS_UNSUPPORTED")


def _cluster(named: str, options: Mapping[str, str], username: str, password: str) -> Cluster:
    servers = tuple(named.split(","))
    if not all(map(_SERVER.fullmatch, servers)):
        raise unsupported("names no HOST:PORT")
    sasl = _one_of(_SASL, options, "sasl", "none") if "sasl" in options else None
    if sasl and not (username and password):
        raise unsupported("has sasl without a user and a password")
    return Cluster(
        servers=servers,
        is_tls=_one_of(_SWITCH, options, "tls", "off"),
        ca_file=options.get("ca"),
        sasl=sasl,
        username=username,
        password=Hidden(password),
        is_idempotent=_one_of(_SWITCH, options, "idempotence", "on"),
        partitions=_count(options, "partitions", 4, 10_000),
        replication=_count(options, "replication", 1, 100),
    )


def _one_of(
    values: Mapping[str, Value], options: Mapping[str, str], name: str, default: str
) -> Value:
    given = options.get(name, default)
    if given not in values:
        raise unsupported(f"{name} is not one of {', '.join(values)}")
    return values[given]


def _count(options: Mapping[str, str], name: str, default: int, most: int) -> int:
    given = options.get(name, str(default))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= most:
        raise unsupported(f"{name} is not a number from 1 to {most}")
    return int(given)
