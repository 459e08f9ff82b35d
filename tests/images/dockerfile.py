"""The Dockerfile as data: its stages, with what each is told.

Not more of the language than ours uses; what it does not know is an error.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
KNOWN: Final = frozenset(
    {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"}
    | {"LABEL", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}
)
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    word: str
    rest: str

    @property
    def pairs(self) -> dict[str, str]:
        """What an ENV or LABEL sets."""
        return dict(part.split("=", 1) for part in shlex.split(self.rest))


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between two FROM."""

    name: str
    base: str
    """An image, or another stage's name."""
    steps: tuple[Step, ...]

    def all(self, word: str) -> list[str]:
        """What each instruction of this name says."""
        return [step.rest for step in self.steps if step.word == word]


def steps(text: str) -> Iterator[Step]:
    """The instructions, with continued lines joined and comments gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word not in KNOWN:
                raise ValueError(f"{word} is not known to the check of images")
            yield Step(word, rest.strip())


def stages(text: str) -> dict[str, Stage]:
    """The stages by name, bases with their arguments filled in."""
    arguments: dict[str, str] = {}
    found: dict[str, Stage] = {}
    name = base = ""
    held: list[Step] = []
    for step in [*steps(text), Step("FROM", "end AS end")]:
        if step.word == "FROM":
            if name:
                found[name] = Stage(name, base, tuple(held))
            base, _, name = filled(step.rest, arguments).partition(" AS ")
            held = []
        elif not name and step.word == "ARG":
            arguments |= argument(step.rest)
        else:
            held.append(step)
    return found


def argument(rest: str) -> dict[str, str]:
    """An ARG's name and default."""
    key, _, value = rest.partition("=")
    return {key: value}


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `${NAME}` in it replaced."""
    return _VARIABLE.sub(lambda match: values[match[1]], text)


def ours() -> dict[str, Stage]:
    """The stages of this repository's Dockerfile."""
    return stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def targets() -> dict[str, Stage]:
    """Those of them that become images: what runs something."""
    return {name: stage for name, stage in ours().items() if stage.all("ENTRYPOINT")}


def whole(name: str) -> list[Step]:
    """A stage's instructions after those of the stages it stands on."""
    found = ours()
    stage = found[name]
    return [*(whole(stage.base) if stage.base in found else []), *stage.steps]
