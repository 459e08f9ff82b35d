"""Whole lists of services, page by page."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.mcp.rpc import Caller, Rpc

log = logging.getLogger(__name__)

MAX_ITEMS: Final = 20_000
_PAGE: Final = 1_000
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, as it came."""

    raw: bytes
    token: str
    """Asks for the next; empty on the last."""


async def listed(rpc: Rpc, caller: Caller, before: Sequence[Page]) -> Sequence[Page]:
    """All pages of a list. What came before once more is not read again."""
    request: dict[str, Any] = {"page_size": _PAGE}
    pages: list[Page] = []
    for number in range(MAX_ITEMS // _PAGE):
        raw = await rpc.raw(caller, request, seconds=_SECONDS)
        is_known = number < len(before) and before[number].raw == raw
        token = before[number].token if is_known else rpc.parsed(raw)["next_page_token"]
        pages.append(Page(raw, token))
        if not token:
            return tuple(pages)
        request["page_token"] = token
    log.warning("a list is longer than is read", extra={"read": MAX_ITEMS})
    return tuple(pages)


def items(rpc: Rpc, pages: Sequence[Page], name: str) -> list[dict[str, Any]]:
    """What the pages list, under this name."""
    return [item for page in pages for item in rpc.parsed(page.raw)[name]]
