"""The keys that upstreams want, by where they are kept. No error shows one."""

import asyncio
from pathlib import Path

from services.chassis.egress import secrets
from services.chassis.errors import FailedPrecondition
from services.inference.engines.openai_http.upstream import Key


def fixed(key: str) -> Key:
    """A key that the settings hold."""

    async def read() -> str:
        return key

    return read


def in_file(path: Path, *, setting: str) -> Key:
    """A key in a file, which is read each time. `setting` says where, for errors."""

    async def read() -> str:
        try:
            key = await asyncio.to_thread(secrets.read, path)
        except (OSError, UnicodeDecodeError) as error:
            raise _missing(setting, f"cannot be read ({type(error).__name__})") from None
        if not key.isascii() or not key.isprintable() or not 0 < len(key) <= secrets.MAX_BYTES:
            raise _missing(setting, "does not hold one line of plain text")
        return key

    return read


def _missing(setting: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "SECRET_NOT_FOUND",
        f"the file that {setting} names {why}",
        setting=setting,
        suggested_fix=f"put the upstream's key where {setting} says",
    )
