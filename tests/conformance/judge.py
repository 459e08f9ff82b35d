"""What a suite found, against what is expected: every failure has a reason, or it is a failure."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EXPECTED: Final = Path(__file__).with_name("expected.toml")
_FAILED: Final = frozenset({"FAILURE", "WARNING"})
_PASSED: Final = frozenset({"SUCCESS"})


Place = tuple[str, str, str]
"""A suite, a scenario, and a check of it."""


@dataclass(frozen=True)
class Check:
    """One thing that a scenario looked at."""

    suite: str
    scenario: str
    name: str
    status: str
    message: str

    @property
    def place(self) -> Place:
        """Which one it is. A scenario may look at the same thing several times."""
        return self.suite, self.scenario, self.name


@dataclass(frozen=True)
class Verdict:
    """All of a suite."""

    suite: str
    checks: list[Check]
    expected: Mapping[Place, str]
    """Why what is meant to fail is."""

    @property
    def scenarios(self) -> set[str]:
        """Those that ran."""
        return {check.scenario for check in self.checks}

    @property
    def failing(self) -> set[str]:
        """Those in which something failed, expected or not."""
        return {check.scenario for check in self.checks if check.status in _FAILED}

    @property
    def surprises(self) -> list[str]:
        """What failed and should not, and what did not fail and should."""
        failed = [check for check in self.checks if check.status in _FAILED]
        unknown = [
            f"{check.scenario}: {check.name}: {check.message}"
            for check in failed
            if check.place not in self.expected
        ]
        places = {check.place for check in failed}
        return unknown + [
            f"{scenario}: {name}: is expected to fail, and passed"
            for suite, scenario, name in self.expected
            if suite == self.suite and (suite, scenario, name) not in places
        ]

    def lines(self) -> Iterator[str]:
        """The verdict, for people."""
        passed = sum(check.status in _PASSED for check in self.checks)
        failed = sum(check.status in _FAILED for check in self.checks)
        well = len(self.scenarios) - len(self.failing)
        yield f"{self.suite}: {well} of {len(self.scenarios)} scenarios pass;"
        yield f"  {passed} checks passed, {failed} failed"
        for (suite, scenario, name), reason in self.expected.items():
            if suite == self.suite:
                yield f"  expected: {scenario}: {name}: {reason}"
        for each in self.surprises:
            yield f"  SURPRISE: {each}"


def verdict(suite: str, folder: Path) -> Verdict:
    """Judge what a suite left in a folder."""
    return Verdict(suite, list(_checks(suite, folder)), dict(_expected()))


def _checks(suite: str, folder: Path) -> Iterable[Check]:
    for file in sorted(folder.glob("*/checks.json")):
        scenario = file.parent.name.removeprefix("server-").rsplit("-", 6)[0]
        for check in json.loads(file.read_text()):
            yield Check(
                suite, scenario, check["id"], check["status"], check.get("errorMessage") or ""
            )


def _expected() -> Iterable[tuple[Place, str]]:
    said: dict[str, Any] = tomllib.loads(EXPECTED.read_text())
    for each in said.get("expected", []):
        if not each["reason"].strip():
            raise ValueError(f"{each} has no reason")
        yield (each["suite"], each["scenario"], each["check"]), each["reason"]
