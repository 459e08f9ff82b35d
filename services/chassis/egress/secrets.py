"""Secrets from files and from the environment, and how they are kept out of what is answered."""

import asyncio
import base64
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from services.chassis.errors import FailedPrecondition

log = logging.getLogger(__name__)

MAX_BYTES: Final = 8 * 1024
MIN_CHARACTERS: Final = 4
"""What is shorter cannot be told from other text."""
HIDDEN: Final = "[secret]"
MAX_DEPTH: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", re.ASCII)
_ENVIRONMENT_TENANT: Final = "default"


class StoredSecrets:
    """Secrets in files `FOLDER/TENANT/NAME`, and for one tenant in the environment.

    They are read each time: files may be replaced while the service runs.
    """

    def __init__(self, folder: Path | None, environment: Mapping[str, str]) -> None:
        """`environment` is by the secret's name, in upper case and with `_` for `-` and `.`."""
        self._folder = folder
        self._environment = environment

    async def get(self, tenant: str, name: str) -> str:
        """See `Secrets`."""
        found = await asyncio.to_thread(self._stored, tenant, name)
        if found is None and tenant == _ENVIRONMENT_TENANT:
            found = self._environment.get(_variable(name))
        if found is None:
            raise _missing(name, f"there is no secret {name[:64]}")
        if not found.isprintable() or not MIN_CHARACTERS <= len(found) <= MAX_BYTES:
            message = f"{name[:64]} is no secret: it is not one line of text of some length"
            raise _missing(name, message)
        return found

    def _stored(self, tenant: str, name: str) -> str | None:
        if self._folder is None or not _TENANT.fullmatch(tenant) or not _NAME.fullmatch(name):
            return None
        try:
            return read(self._folder / tenant / name)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            log.warning("secret cannot be read", extra={"secret": name, "error": kind})
            return None


def read(path: Path) -> str:
    """The line that a file holds. Raises OSError, UnicodeDecodeError."""
    # A pipe without a writer would block, and a device would never end.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise FileNotFoundError(path)
        return file.read(MAX_BYTES + 3).decode().rstrip("\r\n")


def _variable(name: str) -> str:
    return re.sub("[-.]", "_", name.upper())


def _missing(name: str, message: str) -> FailedPrecondition:
    variable = f"…_SECRET_{_variable(name[:64])}"
    fix = (
        f"put {MIN_CHARACTERS} to {MAX_BYTES} characters into the service's {variable}, for the "
        f"tenant {_ENVIRONMENT_TENANT}, or into a file TENANT/{name[:64]} of its …_SECRETS__FOLDER"
    )
    return FailedPrecondition("SECRET_NOT_FOUND", message, secret=name[:64], suggested_fix=fix)


class Scrub:
    """Takes secrets out of what comes back, however they are spelled."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.forms = _spellings(secrets)
        """In every spelling, the longest first."""

    @property
    def longest(self) -> int:
        """The characters of the longest spelling."""
        return len(self.forms[0]) if self.forms else 0

    def text(self, text: str) -> str:
        """A text without them."""
        return _without(text, self.forms)

    def beginning(self, text: str, most: int) -> str:
        """So many characters of a text without them, and nothing of one that is cut through."""
        head = text[: most + self.longest]
        clean = self.text(head)
        if is_cut := len(head) < len(text):
            clean = clean[: max(0, len(clean) - self.longest)]
        return f"{clean[:most]}…" if is_cut or len(clean) > most else clean

    def value(self, value: object) -> object:
        """A JSON value without them: its names and texts, at most `MAX_DEPTH` levels deep.

        Raises:
            ValueError: it is deeper.
        """
        return _cleaned(value, self.forms, MAX_DEPTH) if self.forms else value


def _spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= MIN_CHARACTERS:
            coded = base64.b64encode(secret.encode()).decode()
            found |= {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), coded}
            found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return tuple(sorted(found, key=len, reverse=True))


def _without(text: str, forms: Iterable[str]) -> str:
    for form in forms:
        text = text.replace(form, HIDDEN)
    return text


def _cleaned(value: object, forms: tuple[str, ...], depth: int) -> object:
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return _without(value, forms)
    if isinstance(value, Mapping):
        return {
            _without(str(name), forms): _cleaned(inner, forms, depth - 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(inner, forms, depth - 1) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in forms:
        return HIDDEN
    return value


NO_SECRETS: Final = Scrub()
