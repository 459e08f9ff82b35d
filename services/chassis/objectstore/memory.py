"""An object store in this process's memory, for tests. Nothing survives its end."""

from typing import Final

from services.chassis.objectstore import refusals
from services.chassis.objectstore.names import parts, span
from services.chassis.objectstore.port import MAX_BYTES, Reference, reference_to

_MOST_BYTES: Final = 4 * MAX_BYTES  # Then it is full: to forget a value would be to lose it.


class MemoryObjectStore:
    """See `ObjectStore`."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, ...], bytes] = {}
        self._size_bytes = 0

    async def put(self, tenant: str, body: bytes) -> Reference:
        """See `ObjectStore`."""
        if len(body) > MAX_BYTES:
            raise refusals.too_large(len(body))
        reference = reference_to(body)
        name = parts(tenant, reference)
        if name not in self._bodies:
            if self._size_bytes + len(body) > _MOST_BYTES:
                raise refusals.unavailable("it is full")
            self._bodies[name] = body
            self._size_bytes += len(body)
        return reference

    async def get(
        self, tenant: str, reference: Reference, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """See `ObjectStore`."""
        body = self._bodies.get(parts(tenant, reference))
        if body is None:
            raise refusals.not_found(reference)
        if len(body) != reference.size_bytes:
            raise refusals.damaged(reference)
        start, end = span(reference, offset, length)
        return body[start:end]
