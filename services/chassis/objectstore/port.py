"""What a service needs of an object store. Adapters pass `tests/contract/chassis/objectstore`."""

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

MAX_BYTES: Final = 64 * 1024 * 1024
"""No value is larger: it is held in memory whole when it is kept."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What stands for a value. Its hash is its name: it can be checked, and never changes."""

    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


class ObjectStore(Protocol):
    """Values by tenant: no tenant reads another's, whoever knows a hash.

    What `put` has returned for survives a crash, as far as the adapter promises durability.
    Both methods raise Unavailable `OBJECT_STORE_UNAVAILABLE` when the store cannot be reached.
    """

    async def put(self, tenant: str, body: bytes) -> Reference:
        """Keep a value. The same one again is kept once, and repairs what was damaged.

        Raises:
            ResourceExhausted: `OBJECT_TOO_LARGE`; it has more than `MAX_BYTES`.
        """

    async def get(
        self, tenant: str, reference: Reference, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """A value, or as much of `length` bytes from `offset` on as there is.

        A whole value is what was put, to the last bit. Of a part only its length is known.

        Raises:
            NotFound: `OBJECT_NOT_FOUND`.
            Internal: `OBJECT_DAMAGED`; it is not what was put.
        """


def reference_to(body: bytes) -> Reference:
    """What stands for this value."""
    return Reference(hashlib.sha256(body).hexdigest(), len(body))
