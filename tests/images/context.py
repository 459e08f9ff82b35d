"""What an engine is sent to build from: the files that .dockerignore lets in.

By Docker's rules, as far as ours need them: the last pattern that fits decides, and one that fits a
folder fits what is in it.
"""

import re
from functools import cache

from tests.images.dockerfile import ROOT


def is_let_in(path: str) -> bool:
    """Whether the file or folder at this path, from the root of the repository, is sent."""
    fitting = [is_let for pattern, is_let in _rules() if pattern.fullmatch(path)]
    return not fitting or fitting[-1]


@cache
def _rules() -> list[tuple[re.Pattern[str], bool]]:
    """Each pattern, and whether what fits it is sent."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [
        (_pattern(line.removeprefix("!")), line.startswith("!"))
        for line in lines
        if line and not line.startswith("#")
    ]


def _pattern(line: str) -> re.Pattern[str]:
    text = re.escape(line).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(f"{text}(?:/.*)?")
