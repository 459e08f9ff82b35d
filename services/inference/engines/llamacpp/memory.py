"""How much memory is left for models, to this process and on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LIMITS: Final = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_GROUPS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
_MEMINFO: Final = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """None where nobody says."""
    return min(_left(), default=None)


def _left() -> Iterator[int]:
    for group in _GROUPS:
        for limit, used in _LIMITS:
            most, now = _number(group / limit), _number(group / used)
            if most is not None and now is not None:
                yield max(0, most - now)
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # `max`: there is no limit.
        return None
