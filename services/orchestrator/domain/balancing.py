"""Which replica of a service gets a call: least outstanding tokens, and the same one for a session
while it is not hot. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """A replica, and what is asked of it now."""

    address: str
    tokens: int = 0
    """Of the calls that go on."""
    is_out: bool = False
    """Whether it failed a moment ago."""


def replica(loads: Sequence[Load], key: str = "", *, hot_tokens: int = 0) -> Load:
    """The replica for a call; `key` is its session, whose prompt one of them may have at hand.

    That one is hot when it has so many tokens more than the one with the least. Those that failed
    come into question only where all did.
    """
    if len(loads) == 1:
        return loads[0]
    well = [each for each in loads if not each.is_out] or loads
    idlest = min(well, key=lambda each: each.tokens)
    if not key:
        return idlest
    home = max(well, key=lambda each: _weight(key, each.address))
    return idlest if home.tokens - idlest.tokens > hot_tokens else home


def _weight(key: str, address: str) -> bytes:
    """Rendezvous hashing: who comes or goes moves only the keys that are its own."""
    return hashlib.blake2b(f"{address}\0{key}".encode(), digest_size=8).digest()
