"""Tools as requests and agents name them: alone, or with a version or a range of versions. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Violation
from services.chassis.versions import is_wanted, wanted
from services.orchestrator.domain.tool import AGENT_PREFIX

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAME_FIX: Final = "use 1 to 64 of A-Z a-z 0-9 _ -"
VERSION_FIX: Final = "use a version such as 1.0.0, or a range such as ^1.2"


@dataclass(frozen=True, slots=True)
class Named:
    """A tool, and which of its versions; empty for the newest."""

    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


def named(text: str) -> Named:
    """What `name`, or `name@version`, names."""
    name, _, version = text.partition("@")
    return Named(name, version.strip())


def faults(field: str, texts: Sequence[str]) -> Iterator[Violation]:
    """What is wrong with names of tools."""
    versions: dict[str, str] = {}
    for index, text in enumerate(texts):
        where, asked = f"{field}[{index}]", named(text)
        if not NAME.fullmatch(asked.name):
            yield Violation(where, "is not a tool's name", NAME_FIX)
        elif asked.version and asked.name.startswith(AGENT_PREFIX):
            yield Violation(where, "an agent has no version to choose", f"use {asked.name}")
        elif ("@" in text and not asked.version) or not is_wanted(asked.version):
            yield Violation(where, "has no version behind the @", VERSION_FIX)
        elif versions.setdefault(asked.name, asked.version) != asked.version:
            fix = "name one version of each tool"
            yield Violation(where, f"{asked.name} is named before, in another version", fix)


def narrowed(asked: Named, allowed: Named) -> Named | None:
    """What is asked for within what is allowed of the same tool; None if it is not within that."""
    if asked.version in ("", allowed.version):
        return allowed
    if not allowed.version or _is_within(asked.version, allowed.version):
        return asked
    return None


def _is_within(version: str, versions: str) -> bool:
    """Whether an exact version is in a range. Of a range nobody can tell here."""
    exact = wanted(version).exact
    return exact is not None and wanted(versions).allows(str(exact))
