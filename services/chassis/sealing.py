"""Texts that only we can read again, bound to what they were made for (AES-GCM)."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_SEALED_CHARACTERS: Final = 4096


class Broken(Exception):
    """It is not ours, or was made for something else."""


class Seal:
    """Seals with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def close(self, text: str, bound: Mapping[str, str]) -> str:
        """The text, sealed; it opens only with the same `bound`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, text.encode(), _canonical(bound))
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, bound: Mapping[str, str]) -> str:
        """The text. Raises `Broken`."""
        try:
            raw = base64.urlsafe_b64decode(sealed[:_SEALED_CHARACTERS])
            nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            return self._aead.decrypt(nonce, rest, _canonical(bound)).decode()
        except (ValueError, InvalidTag):
            raise Broken from None


def _canonical(bound: Mapping[str, str]) -> bytes:
    return json.dumps(dict(bound), sort_keys=True).encode()
