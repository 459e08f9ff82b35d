"""Whole lists of services, page by page. What may be large is parsed in a thread."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.mcp.rpc import Caller, Reply, Rpc

log = logging.getLogger(__name__)

MAX_ITEMS: Final = 20_000
MAX_BYTES: Final = 32 * 1024 * 1024
_PAGE: Final = 1_000
_PAGE_BYTES: Final = 512 * 1024
_SECONDS: Final = 10.0
_LARGE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, as it came."""

    raw: bytes
    token: str
    """Asks for the next; empty on the last."""
    count: int
    """How many it lists."""


async def listed(
    rpc: Rpc, name: str, caller: Caller, before: Sequence[Page], where: str = ""
) -> Sequence[Page]:
    """The pages of a list that is under this name in them, as far as it is read: a service ends a
    page by its bytes, too. What came before once more is not parsed again."""
    request: dict[str, Any] = {"page_size": _PAGE}
    if where:
        request["filter"] = where
    pages: list[Page] = []
    count = size = 0
    while count < MAX_ITEMS and size < MAX_BYTES:
        raw = await rpc.raw(caller, request, seconds=_SECONDS)
        known = before[len(pages)] if len(pages) < len(before) else None
        page = known if known and known.raw == raw else await _page(rpc, name, raw)
        pages.append(page)
        if not page.token:
            return tuple(pages)
        request["page_token"] = page.token
        request["page_size"] = _next_size(page)
        count, size = count + max(page.count, 1), size + len(raw)
    if not is_cut(before):
        said = {"list": name, "tenant": caller.tenant, "items": count, "bytes": size}
        log.warning("a list is longer than is read", extra=said)
    return tuple(pages)


def is_cut(pages: Sequence[Page]) -> bool:
    """Whether a list goes on after what was read of it."""
    return bool(pages) and bool(pages[-1].token)


def items(rpc: Rpc, pages: Sequence[Page], name: str) -> Iterator[dict[str, Any]]:
    """What the pages list, under this name."""
    return (item for page in pages for item in rpc.parsed(page.raw)[name])


def _next_size(page: Page) -> int:
    """How many to ask for after this page: while a reply is parsed, threads stand still."""
    fitting = page.count * _PAGE_BYTES // max(1, len(page.raw))
    return min(_PAGE, max(1, fitting)) if page.count else _PAGE


async def _page(rpc: Rpc, name: str, raw: bytes) -> Page:
    is_large = len(raw) > _LARGE
    found: Reply = await asyncio.to_thread(rpc.parsed, raw) if is_large else rpc.parsed(raw)
    return Page(raw, found["next_page_token"], len(found[name]))
