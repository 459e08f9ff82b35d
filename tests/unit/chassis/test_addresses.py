"""Which hosts tools may be sent to."""

from ipaddress import ip_address

import pytest

from services.chassis.egress.addresses import METADATA, Allowed, Denied, kind_of

NOTHING = Allowed()
ADDRESSES = {
    "8.8.8.8": "",
    "1.1.1.1": "",
    "172.15.255.255": "",
    "172.32.0.0": "",
    "100.63.255.255": "",
    "2606:4700::1111": "",
    "64:ff9b::8.8.8.8": "",
    "::ffff:8.8.8.8": "",
    "2002:808:808::1": "",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",  # noqa: S104 - nothing is bound to it
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "fc00::1": "private",
    "fdff::1": "private",
    "fec0::1": "private",
    "64:ff9b:1::a00:1": "private",
    "169.254.0.1": "link-local",
    "fe80::1": "link-local",
    "100.64.0.1": "carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "ff02::1": "multicast",
    "192.0.0.1": "reserved",
    "192.0.2.1": "reserved",
    "198.18.0.1": "reserved",
    "198.51.100.1": "reserved",
    "203.0.113.1": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "2001::1": "reserved",
    "2001:0:a9fe:a9fe::1": "reserved",
    "2001:db8::1": "reserved",
    "3fff::1": "reserved",
    "100::1": "reserved",
    "5f00::1": "reserved",
    "4000::1": "reserved",
    "169.254.169.254": METADATA,
    "169.254.170.2": METADATA,
    "168.63.129.16": METADATA,
    "100.100.100.200": METADATA,
    "fd00:ec2::254": METADATA,
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:a9fe:a9fe": METADATA,
    "::ffff:0:10.0.0.1": "private",
    "::127.0.0.1": "loopback",
    "::10.0.0.1": "private",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b::a9fe:a9fe": METADATA,
    "2002:7f00:1::": "loopback",
    "2002:c0a8:101::1": "private",
    "2002:a9fe:a9fe::": METADATA,
}
ODD = "neither a host name nor an address as it is usually written"
HOSTS = {
    "api.example": "",
    "xn--bcher-kva.example": "",
    "my_service.example": "",
    "127.example": "",
    "[2606:4700::1111]": "",
    "127.0.0.1": "loopback",
    "127.0.0.1.": "loopback",
    "[::1]": "loopback",
    "::1": "loopback",
    "localhost": "loopback",
    "LOCALHOST.": "loopback",
    "any.localhost": "loopback",
    "localhost.localdomain": "loopback",
    "[fe80::1%25eth0]": "one with a zone",
    "2606:4700::1111%eth0": "one with a zone",
    "2130706433": ODD,
    "017700000001": ODD,
    "0x7f000001": ODD,
    "0x7f.1": ODD,
    "127.1": ODD,
    "127.0.1": ODD,
    "0177.0.0.1": ODD,
    "127.0.0.1..": "loopback",
    "127.0.0.0x1": ODD,
    "1.2.3.4.5": ODD,
    "": ODD,
    ".": ODD,
    "a b": ODD,
    "user@host": ODD,
    "host\n": ODD,
    "host\x00.example": ODD,
    "a/b": ODD,
    "bücher.example": ODD,
    "a" * 254: ODD,
}


@pytest.mark.parametrize(("address", "kind"), ADDRESSES.items())
def test_an_address_is_known_for_what_it_is(address: str, kind: str) -> None:
    assert kind_of(ip_address(address)) == kind


@pytest.mark.parametrize(("host", "kind"), HOSTS.items())
def test_a_host_is_refused_for_what_it_says(host: str, kind: str) -> None:
    assert NOTHING.refusal_of_host(host) == kind


@pytest.mark.parametrize(
    ("allow", "host", "address", "kind"),
    [
        ("127.0.0.0/8, ::1", "any.example", "127.0.0.9", ""),
        ("127.0.0.0/8,::1", "any.example", "::1", ""),
        ("127.0.0.0/8", "any.example", "::ffff:127.0.0.1", ""),
        ("::ffff:0:0/96", "any.example", "::ffff:127.0.0.1", ""),
        ("127.0.0.0/8", "any.example", "10.0.0.1", "private"),
        ("10.0.0.0/8", "any.example", "64:ff9b::10.0.0.1", ""),
        ("intern.example", "intern.example", "10.0.0.1", ""),
        ("Intern.Example", "INTERN.example.", "10.0.0.1", ""),
        ("intern.example", "not.intern.example", "10.0.0.1", "private"),
        ("*.intern.example", "a.b.intern.example", "10.0.0.1", ""),
        ("*.intern.example", "intern.example", "10.0.0.1", "private"),
        ("*.intern.example", "xintern.example", "10.0.0.1", "private"),
        ("intern.example", "intern.example", "169.254.169.254", METADATA),
        ("169.254.169.254/32", "any.example", "169.254.169.254", ""),
        ("fe80::/10", "any.example", "fe80::1%1", "one with a zone"),
    ],
)
def test_settings_allow_ranges_and_names(allow: str, host: str, address: str, kind: str) -> None:
    assert Allowed.parsed(allow).refusal(host, ip_address(address)) == kind


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "a b", "*", "*.", "127.1", "a/b", "ü"]
)
def test_settings_that_are_no_range_and_no_name_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no range and no host"):
        Allowed.parsed(text)


def test_localhost_is_allowed_with_its_range() -> None:
    assert Allowed.parsed("127.0.0.0/8").refusal_of_host("localhost") == ""


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.9.9.9", ["127.9.9.9"]),
        ("0.0.0.0", ["0.0.0.0"]),  # noqa: S104 - nothing is bound to it
        ("[::1]", ["::1"]),
        ("::ffff:127.0.0.1", ["::ffff:127.0.0.1"]),
        ("LocalHost.", []),
        ("some.example", ["8.8.8.8", "127.0.0.1"]),
    ],
)
def test_a_denied_port_of_loopback_is_denied_in_every_spelling(
    host: str, addresses: list[str]
) -> None:
    denied = Denied.parsed("127.0.0.1:8081, [2001:db8::1]:443")

    assert denied.has(host, 8081, map(ip_address, addresses))
    assert not denied.has(host, 8082, map(ip_address, addresses))


def test_hosts_are_denied_by_name_and_by_address() -> None:
    denied = Denied.parsed("Inner.example:443,[2606:4700::1]:80,")

    assert denied.has("inner.EXAMPLE.", 443, [])
    assert denied.has("other.example", 80, [ip_address("2606:4700::1")])
    assert not denied.has("other.example", 443, [ip_address("8.8.8.8")])


@pytest.mark.parametrize("text", ["a", "a:", ":1", "::1:80", "a:65536", "a:x", "a b:1", "[a]:1"])
def test_what_is_no_host_and_port_cannot_be_denied(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        Denied.parsed(text)
