"""Lock files: what they pin."""

import re
from pathlib import Path


def normal(name: str) -> str:
    """A distribution's name as the index spells it, of a requirement too."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=; ]", name)[0]).lower()


def pins(path: Path) -> dict[str, set[str]]:
    """The versions that a lock file names, by distribution."""
    found: dict[str, set[str]] = {}
    for match in re.finditer(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text("utf-8"), re.MULTILINE):
        found.setdefault(normal(match[1]), set()).add(match[2])
    return found


def pairs(path: Path) -> set[str]:
    """The same as NAME==VERSION."""
    return {f"{name}=={version}" for name, versions in pins(path).items() for version in versions}
