"""Page sizes and page tokens (AIP-158)."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile
from typing import Final, Protocol

from services.chassis.context import current
from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.sealing import Broken, Seal

DEFAULT: Final = 50
MAXIMUM: Final = 1000
PAGE_BYTES: Final = 2 * 1024 * 1024  # Half of what a message may have.
_PART: Final = 64  # Of a list, that is read at once.


class Read(Protocol):
    """Reads a list: ids and what is shown of each, from after an id on."""

    async def __call__(self, *, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """At most so many; fewer only at the end, or with one more than fits into an answer."""


def fitting(sizes_bytes: Iterable[int]) -> int:
    """How many of these fit into one answer, from the first on; the first does at any rate."""
    fits = takewhile(lambda total: total <= PAGE_BYTES, accumulate(sizes_bytes))
    return max(1, sum(1 for _ in fits))


class Pager:
    """Seals where a page ended, bound to the caller's tenant and the request's other fields."""

    def __init__(self, key: bytes, what: str, *, part: int = _PART) -> None:
        """`what` is listed: a token of one list is none of another's. `part` is how much of it is
        read at once."""
        self._seal = Seal(key)
        self._what = what
        self._part = part

    @staticmethod
    def size(page_size: int) -> int:
        """How many to return.

        Raises:
            InvalidArgument: `PAGE_SIZE_INVALID`; it is negative.
        """
        if page_size < 0:
            fix = f"send 1 to {MAXIMUM}, or leave it out for {DEFAULT}"
            raise invalid(Violation("page_size", "is negative", fix), reason="PAGE_SIZE_INVALID")
        return min(page_size or DEFAULT, MAXIMUM)

    def token(self, after: str, **request: str) -> str:
        """What to hand out as `next_page_token` when the page ended with `after`."""
        return self._seal.close(after, self._bound(request))

    def after(self, token: str, **request: str) -> str:
        """Where the page before ended; empty for the first page.

        Raises:
            InvalidArgument: `PAGE_TOKEN_INVALID`; it belongs to another request, or to none.
        """
        if not token:
            return ""
        try:
            return self._seal.open(token, self._bound(request))
        except Broken:
            raise InvalidArgument(
                "PAGE_TOKEN_INVALID",
                "page_token does not belong to this request",
                field="page_token",
                suggested_fix="send next_page_token as it came, with the same other fields",
            ) from None

    async def page(
        self, read: Read, after: str, size: int, **request: str
    ) -> tuple[list[bytes], str]:
        """What a page shows of a list, and its `next_page_token`. No more of the list is held than
        may fit, and a part."""
        found: list[tuple[str, bytes]] = []
        while True:
            limit = min(self._part, size + 1 - len(found))
            part = await read(after=found[-1][0] if found else after, limit=limit)
            found += part
            shown = found[: fitting(len(body) for _, body in found[:size])]
            if len(part) < limit or len(shown) < len(found):
                break
        token = self.token(shown[-1][0], **request) if len(found) > len(shown) else ""
        return [body for _, body in shown], token

    def _bound(self, request: dict[str, str]) -> dict[str, str]:
        return {**request, "list": self._what, "tenant": current.get().principal.tenant}
