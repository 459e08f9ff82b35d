"""Page sizes and page tokens (AIP-158)."""

import base64
import json
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.context import current
from services.chassis.errors import InvalidArgument, Violation, invalid

DEFAULT: Final = 50
MAXIMUM: Final = 1000
_NONCE_BYTES: Final = 12
_TOKEN_CHARACTERS: Final = 4096


class Pager:
    """Seals where a page ended, bound to the caller's tenant and the request's other fields."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

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
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, after.encode(), _canonical(request))
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def after(self, token: str, **request: str) -> str:
        """Where the page before ended; empty for the first page.

        Raises:
            InvalidArgument: `PAGE_TOKEN_INVALID`; it belongs to another request, or to none.
        """
        if not token:
            return ""
        try:
            raw = base64.urlsafe_b64decode(token[:_TOKEN_CHARACTERS])
            nonce, sealed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            return self._aead.decrypt(nonce, sealed, _canonical(request)).decode()
        except (ValueError, InvalidTag):
            raise InvalidArgument(
                "PAGE_TOKEN_INVALID",
                "page_token does not belong to this request",
                field="page_token",
                suggested_fix="send next_page_token as it came, with the same other fields",
            ) from None


def _canonical(request: dict[str, str]) -> bytes:
    bound = {**request, "tenant": current.get().principal.tenant}
    return json.dumps(bound, sort_keys=True).encode()
