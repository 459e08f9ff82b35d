"""What settings come to, and where each of them is from. Secrets are never shown."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from services.chassis.inspection.variables import DELIMITER, variables, variables_of

MASK: Final = "…"
DEFAULT: Final = "default"
_IS_SECRET: Final = re.compile(
    r"passw|passphrase|pwd|secret|token(?!s|iz)|key|credential|authorization|bearer|cookie|signature"
    r"|^sig$",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(r"([?&;])([^=&;?]*)=([^&;]*)")
_OF_HTTP: Final = frozenset({"http", "https"})
"""There a user without a password is a token."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as a process has it."""

    name: str
    value: Any
    """As JSON has it."""
    source: str
    """`default`, `environment` or `secret file`."""
    variable: str | None
    """What sets it: the variable, or the file."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What settings are read from."""

    environment: Mapping[str, str]
    secrets: Path | None = None

    def of(self, name: str) -> tuple[str, str | None]:
        """Where the setting with this variable is from: it, a group that holds it, or a file."""
        given = {each.upper() for each in self.environment}
        if name in given or any(each.startswith(name + DELIMITER) for each in given):
            return "environment", name
        if (group := self._group(name)) is not None:
            return "environment", group
        if (path := self._file(name)) is not None:
            return "secret file", str(path)
        return DEFAULT, None

    def _group(self, name: str) -> str | None:
        """`INFERENCE_ECHO` with `{"delay": 1}` in it, for `INFERENCE_ECHO__DELAY`."""
        values = {each.upper(): value for each, value in self.environment.items()}
        whole = name
        while DELIMITER in whole:
            whole = whole.rpartition(DELIMITER)[0]
            path = name[len(whole) + len(DELIMITER) :].split(DELIMITER)
            if whole in values and _holds(values[whole], path):
                return whole
        return None

    def _file(self, name: str) -> Path | None:
        if self.secrets is None:
            return None
        found = (each for each in names_in(self.secrets) if each.upper() == name)
        return next((self.secrets / each for each in found), None)


def unread_files(folder: Path | None, settings: Iterable[type[BaseSettings]]) -> list[str]:
    """Secret files that look like settings and are none: only whole fields are read from files."""
    known = (each.name for one in settings for each in variables(one))
    nested = {name for name in known if DELIMITER in name}
    return [name for name in names_in(folder) if name.upper() in nested]


def names_in(folder: Path | None) -> list[str]:
    """Of the files there; none where there is no folder, or none that this user can look into."""
    try:
        return sorted(os.listdir(folder)) if folder is not None else []
    except OSError:
        return []


def effective(settings: BaseSettings, sources: Sources) -> Iterator[Effective]:
    """Each setting there is, groups taken apart."""
    kind = type(settings)
    for name, field in kind.model_fields.items():
        names = variables_of(kind, name)
        given = (each for each in names if sources.of(each)[0] != DEFAULT)
        yield from _of(getattr(settings, name), field, next(given, names[0]), sources)


def _of(value: Any, field: FieldInfo, name: str, sources: Sources) -> Iterator[Effective]:
    if isinstance(value, BaseSettings):
        yield from effective(value, sources)
    elif isinstance(value, BaseModel):
        for part, nested in type(value).model_fields.items():
            inner = f"{name}{DELIMITER}{part.upper()}"
            yield from _of(getattr(value, part), nested, inner, sources)
    else:
        source, where = sources.of(name)
        is_secret = "SecretStr" in repr(field.annotation)
        yield Effective(name, shown(value, is_secret=is_secret), source, where)


def shown(value: Any, *, is_secret: bool = False) -> Any:
    """A value as JSON has it, without what nobody may see."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {
            str(key): shown(each, is_secret=is_secret or bool(_IS_SECRET.search(str(key))))
            for key, each in value.items()
        }
    if isinstance(value, frozenset | set):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [shown(each, is_secret=is_secret) for each in value]
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return MASK if is_secret and value is not None else _plainly(value)


def masked(url: str) -> str:
    """A URL without the secrets in it. What is none is masked as if it were: rather too much."""
    scheme, there, rest = url.partition("://") if "://" in url else ("", "", url)
    who, at, where = rest.rpartition("@")
    user, colon, _ = who.partition(":")
    if colon:
        who = f"{user}:{MASK}"
    elif who and (not there or scheme.lower() in _OF_HTTP):
        who = MASK
    return _OPTION.sub(_option, f"{scheme}{there}{who}{at}{where}")


def _option(found: re.Match[str]) -> str:
    start, name, _ = found.groups()
    return f"{start}{name}={MASK}" if _IS_SECRET.search(unquote(name)) else found[0]


def _plainly(value: Any) -> Any:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bool | int | float) or value is None:
        return value
    return masked(str(value)) if "://" in str(value) else str(value)


def _holds(text: str, path: Iterable[str]) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    for part in path:
        if not isinstance(value, dict):
            return False
        found = {key.upper(): each for key, each in value.items()}
        if part not in found:
            return False
        value = found[part]
    return True
