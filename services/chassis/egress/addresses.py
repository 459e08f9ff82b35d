"""Which hosts may be called: what an address is, and what settings allow all the same. Pure.

The ranges are those of IANA's registries of special-purpose addresses. They are listed here and not
left to `ipaddress`, which has changed its mind about several of them between releases of Python.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from services.chassis.errors import FailedPrecondition

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA: Final = "cloud metadata"
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LOOPBACK: Final = "loopback"
# Where the last label is a number, resolvers read the whole as an address: 127.1, 0x7f.0.0.1.
_NUMERIC: Final = re.compile(r"(.*\.)?(\d+|0[xX][0-9A-Fa-f]*)", re.ASCII)

# The first range that has the address says what it is.
_V4: Final = (
    ("169.254.169.254/32", METADATA),  # AWS, Google, Azure and others.
    ("169.254.170.2/32", METADATA),  # AWS ECS.
    ("169.254.170.23/32", METADATA),  # AWS EKS.
    ("100.100.100.200/32", METADATA),  # Alibaba.
    ("168.63.129.16/32", METADATA),  # Azure, in the midst of public addresses.
    ("192.0.0.192/32", METADATA),  # Oracle.
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved"),
    ("198.51.100.0/24", "reserved"),
    ("203.0.113.0/24", "reserved"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
_V6: Final = (
    ("fd00:ec2::254/128", METADATA),  # AWS.
    ("fd00:ec2::23/128", METADATA),  # AWS EKS.
    ("fd20:ce::254/128", METADATA),  # Google.
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("64:ff9b:1::/48", "private"),
    ("2001::/23", "reserved"),  # Teredo among them.
    ("2001:db8::/32", "reserved"),
    ("3fff::/20", "reserved"),
    ("2000::/3", ""),
    ("::/0", "reserved"),
)
_KINDS: Final[dict[int, tuple[tuple[Network, str], ...]]] = {
    4: tuple((ip_network(range_), kind) for range_, kind in _V4),
    6: tuple((ip_network(range_), kind) for range_, kind in _V6),
}
# Addresses of IPv6 that lead to one of IPv4, and how far to the right of it that ends.
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # Mapped.
    (IPv6Network("::ffff:0:0:0/96"), 0),  # Translated.
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64.
    (IPv6Network("2002::/16"), 80),  # 6to4.
    (IPv6Network("::/96"), 0),  # Compatible.
)
_PLAIN: Final = (IPv6Address("::"), IPv6Address("::1"))


def kind_of(address: Address) -> str:
    """What an address is, such as `private`; empty if it is one of the public internet."""
    address = carried(address) or address
    return next((kind for range_, kind in _KINDS[address.version] if address in range_), "")


def carried(address: Address) -> IPv4Address | None:
    """The address of IPv4 that one of IPv6 leads to, if it does."""
    if isinstance(address, IPv6Address) and address not in _PLAIN:
        for network, shift in _CARRIERS:
            if address in network:
                return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


def literal(host: str) -> Address | None:
    """The address that a host of a URL is; None for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]").rstrip("."))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What settings allow beside the public internet."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    """Names, in lower case; `*.` before one means all below it."""

    @staticmethod
    def parsed(text: str) -> "Allowed":
        """Ranges (`10.1.0.0/16`, `::1`) and names (`*.internal.example`), between commas.

        Raises:
            ValueError: a part is neither.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for part in filter(None, (each.strip() for each in text.split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError as error:
                name = part.lower().removeprefix("*.")
                if "/" in part or _NUMERIC.fullmatch(name) or not _HOST.fullmatch(name):
                    raise ValueError(f"{part!r} is no range and no host: {error}") from None
                hosts.add(part.lower())
        return Allowed(tuple(networks), frozenset(hosts))

    def refusal(self, host: str, address: Address) -> str:
        """Why a host with this address is not called, as the kind of address; empty if it is.

        An allowed name may have any address but one of cloud metadata.
        """
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return "one with a zone"
        ways = (address, carried(address))
        if any(each is not None and each in range_ for each in ways for range_ in self.networks):
            return ""
        kind = kind_of(address)
        return "" if kind != METADATA and self._has_name(host) else kind

    def refusal_of_host(self, host: str) -> str:
        """The same as far as can be told without asking for the host's addresses."""
        if (address := literal(host)) is not None:
            return self.refusal(host, address)
        name = host.lower().removesuffix(".")
        if _NUMERIC.fullmatch(name) or not _HOST.fullmatch(name):
            return "neither a host name nor an address as it is usually written"
        if name == "localhost" or name.endswith((".localhost", ".localdomain")):
            return self.refusal(host, ip_address("127.0.0.1"))
        return ""

    def _has_name(self, host: str) -> bool:
        name = host.lower().removesuffix(".")
        labels = name.split(".")
        above = {"*." + ".".join(labels[first:]) for first in range(1, len(labels))}
        return not self.hosts.isdisjoint({name, *above})


@dataclass(frozen=True, slots=True)
class Denied:
    """What is not called whatever else is allowed: ports of hosts, such as Runplane's own."""

    places: frozenset[tuple[str, int]] = frozenset()
    """Hosts, in lower case or as addresses; all of loopback is one host."""

    @staticmethod
    def parsed(text: str) -> "Denied":
        """Each `host:port`, an IPv6 address in brackets, between commas.

        Raises:
            ValueError: a part is something else.
        """
        places: set[tuple[str, int]] = set()
        for part in filter(None, (each.strip() for each in text.split(","))):
            host, _, port = part.rpartition(":")
            is_bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
            is_host = literal(host) is not None or _HOST.fullmatch(host) is not None
            if is_bare or not is_host or not _PORT.fullmatch(port) or int(port) > 65_535:
                raise ValueError(f"{part!r} is not host:port")
            address = literal(host)
            places.add((_place(address) if address else _named(host), int(port)))
        return Denied(frozenset(places))

    def has(self, host: str, port: int, addresses: Iterable[Address]) -> bool:
        """Whether a port of this host is denied, by its name or by one of its addresses."""
        found = {_named(host), *map(_place, addresses)}
        return any((place, port) in self.places for place in found)


def _named(host: str) -> str:
    name = host.lower().removesuffix(".")
    return _LOOPBACK if name == "localhost" else name


def _place(address: Address) -> str:
    """An address as it is compared: whoever connects to `0.0.0.0` reaches loopback too."""
    address = carried(address) or address
    return _LOOPBACK if address.is_loopback or address.is_unspecified else str(address)


def denied(host: str, port: int, *, setting: str) -> FailedPrecondition:
    """That this port of a host is not called; `setting` has what else is not."""
    shown = host[:253].encode("ascii", "replace").decode()
    return FailedPrecondition(
        "TARGET_REFUSED",
        f"{shown}:{port} is not called: {setting} has it",
        host=shown,
        address_class="denied",
        setting=setting,
        suggested_fix="use another host or port; this one is not to be called",
    )


def refused(host: str, kind: str, *, setting: str) -> FailedPrecondition:
    """That a host is not called; `setting` has what is allowed. Its address is not told: it may be
    of somebody's inner network."""
    shown = host[:253].encode("ascii", "replace").decode()
    return FailedPrecondition(
        "TARGET_REFUSED",
        f"{shown} is not called: its address is {kind}; {setting} has what is allowed",
        host=shown,
        address_class=kind,
        setting=setting,
        suggested_fix=f"use a public host, or have {setting} name this one or its range",
    )
