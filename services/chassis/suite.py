"""Which suite a process is of, as others may know it."""

import hashlib
import hmac
from typing import Final

from pydantic import SecretStr

SUITE: Final = "dev.runplane/suite"
"""The extension under which `/mcp` tells it, as `{"id": …}`."""
_CHARACTERS: Final = 32


def suite_id(page_token_key: SecretStr) -> str:
    """The same for every process of a suite, and no other's. Says nothing of the key that they
    share."""
    key = bytes.fromhex(page_token_key.get_secret_value())
    return hmac.new(key, SUITE.encode(), hashlib.sha256).hexdigest()[:_CHARACTERS]
