"""The line of a tool's versions: what its stream of events adds up to, and what may come next."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis.errors import AlreadyExists, FailedPrecondition, NotFound
from services.chassis.versions import Wanted
from services.tool_registry.domain import version as ver
from services.tool_registry.domain.tool import Entry

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Registered:
    """A tool is there, in its first version, or in the first after it was deleted."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Updated:
    """A tool has a further version."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Deprecated:
    """A version is not to be used for anything new."""

    time: datetime
    version: str
    """Empty: all that there are."""
    message: str


@dataclass(frozen=True, slots=True)
class Undeprecated:
    """A version is to be used again."""

    time: datetime
    version: str
    """Empty: all that there are."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tool is not there any more."""

    time: datetime


Event = Registered | Updated | Deprecated | Undeprecated | Deleted


@dataclass(frozen=True, slots=True)
class Release:
    """A version, and which event brought it."""

    version: str
    sequence: int
    deprecation: str | None = None
    """Why it is not to be used for anything new; None: it is."""

    @property
    def is_deprecated(self) -> bool:
        """Whether it is not to be used for anything new."""
        return self.deprecation is not None


@dataclass(frozen=True, slots=True)
class Line:
    """The versions of a tool, the oldest first; none if there is no such tool."""

    name: str
    sequence: int = 0
    """Of its last event."""
    source: str = ""
    releases: tuple[Release, ...] = ()
    last: Release | None = None
    """The newest version that ever was; a deleted one stays."""

    def picked(self, wanted: Wanted) -> Release | None:
        """The newest version that will do; a deprecated one only if no other does. If any is
        wanted, a pre-release only where there is nothing else."""
        found = _best(each for each in self.releases if wanted.allows(each.version))
        return _best(iter(self.releases)) if found is None and wanted.is_any else found

    def evolved(self, event: Event) -> "Line":
        """What it is after one more event. Raises `ValueError` if history is corrupt."""
        sequence = self.sequence + 1
        if isinstance(event, Deprecated | Undeprecated):
            marked = tuple(_marked(each, event) for each in self.releases)
            return replace(self, sequence=sequence, releases=marked)
        if isinstance(event, Deleted):
            return replace(self, sequence=sequence, releases=())
        if isinstance(event, Registered) == bool(self.releases):
            raise ValueError(f"{self.name}: {type(event).__name__} as event {sequence}")
        release = Release(event.entry.definition.version, sequence)
        releases = (*self.releases, release)
        source = event.entry.source
        return replace(self, sequence=sequence, source=source, releases=releases, last=release)

    def check_free(self) -> None:
        """Refuse to register it again. Raises AlreadyExists `TOOL_ALREADY_EXISTS`."""
        if self.releases:
            raise taken(self.name, "PATCH the tool that is there, or choose another name")

    def check_next(self, version: str) -> None:
        """Refuse a version that is no higher than all before. Raises FailedPrecondition
        `TOOL_VERSION_NOT_NEWER`."""
        if self.last is not None and not ver.is_newer(version, self.last.version):
            raise FailedPrecondition(
                "TOOL_VERSION_NOT_NEWER",
                f"{self.name} was at {self.last.version} already; {version} is not higher",
                tool=self.name,
                version=version,
                newest=self.last.version,
                field="tool.version",
                suggested_fix=f"send {ver.after_addition(self.last.version)}, or a higher one",
            )

    def bound_by(self, version: str) -> Release | None:
        """The version whose callers expect this one to do for them; None if there is none."""
        return next(
            (
                each
                for each in reversed(self.releases)
                if ver.is_bound(version, each.version) and not ver.is_prerelease(each.version)
            ),
            None,
        )

    def missing_version(self, version: str) -> NotFound:
        """That none of its versions will do."""
        newest = ", ".join(each.version for each in reversed(self.releases[-_SHOWN:]))
        return missing_version(self.name, version, newest)


def taken(name: str, fix: str) -> AlreadyExists:
    """That the name is used already."""
    message = f"there is a tool {name} already"
    return AlreadyExists(
        "TOOL_ALREADY_EXISTS", message, tool=name, field="tool.name", suggested_fix=fix
    )


def missing_version(name: str, version: str, newest: str) -> NotFound:
    """That a tool has no such version, with those that it has."""
    return NotFound(
        "TOOL_VERSION_NOT_FOUND",
        f"{name} has no version {version}",
        tool=name,
        version=version,
        field="version",
        suggested_fix=f"use one of {newest}, or leave version out for the newest",
    )


def _best(releases: Iterator[Release]) -> Release | None:
    """The last that is not deprecated, else the last."""
    last = None
    for each in releases:
        if last is None or last.is_deprecated or not each.is_deprecated:
            last = each
    return last


def _marked(release: Release, event: Deprecated | Undeprecated) -> Release:
    if event.version not in {"", release.version}:
        return release
    return replace(release, deprecation=event.message if isinstance(event, Deprecated) else None)
