"""What a built tree holds: its size, its packages, and a fingerprint that two builds share."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024
_LARGEST: Final = 3


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of Python packages."""

    path: Path

    def files(self) -> Iterator[Path]:
        """Every file, in one order."""
        return (path for path in sorted(self.path.rglob("*")) if path.is_file())

    @property
    def mebibytes(self) -> float:
        """What the files hold together."""
        return sum(path.stat().st_size for path in self.files()) / MEBIBYTE

    @property
    def packages(self) -> frozenset[str]:
        """The distributions in it, as NAME-VERSION."""
        return frozenset(
            each.name.removesuffix(".dist-info") for each in self.path.glob("*.dist-info")
        )

    @property
    def largest(self) -> str:
        """The folders that take most of it."""
        sizes = {each.name: Tree(each).mebibytes for each in self.path.iterdir() if each.is_dir()}
        most = sorted(sizes.items(), key=lambda pair: -pair[1])[:_LARGEST]
        return ", ".join(f"{name} {size:.0f}" for name, size in most)

    @property
    def entries(self) -> frozenset[tuple[str, int, int, str]]:
        """Names, modes, times and contents: what a layer of them is made of."""
        return frozenset(
            (
                str(path.relative_to(self.path)),
                path.lstat().st_mode,
                int(path.lstat().st_mtime),
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            )
            for path in self.path.rglob("*")
        )

    @property
    def fingerprint(self) -> str:
        """One word for all of that."""
        return hashlib.sha256(repr(sorted(self.entries)).encode()).hexdigest()[:16]

    def unlike(self, other: "Tree") -> list[str]:
        """The names of what is not the same in both."""
        return sorted({name for name, *_ in self.entries ^ other.entries})
