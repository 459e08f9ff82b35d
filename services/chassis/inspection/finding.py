"""What a check finds. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.chassis.errors import ServiceError

LONGEST: Final = 4_000


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    message: str
    """What is there, or what is wrong."""
    fix: str = ""
    """What to do."""

    def cut(self) -> "Finding":
        """The same, however much a server had to say."""
        return replace(self, message=self.message[:LONGEST], fix=self.fix[:LONGEST])


def fine(check: str, message: str) -> Finding:
    """It is as it has to be."""
    return Finding(check, Level.OK, message)


def doubtful(check: str, message: str, fix: str) -> Finding:
    """It works, and will not always, or not as it was meant."""
    return Finding(check, Level.WARNING, message, fix)


def wrong(check: str, message: str, fix: str) -> Finding:
    """The service does not start so, or something it was told to use cannot be used."""
    return Finding(check, Level.ERROR, message, fix)


def refused(check: str, error: ServiceError) -> Finding:
    """What the service itself would say at its start."""
    fix = "; ".join(f"{each.field}: {each.suggested_fix}" for each in error.violations)
    return wrong(
        check, error.message, fix or error.metadata.get("suggested_fix", "see the message")
    )
