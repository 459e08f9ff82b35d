"""What binds an output other than a JSON Schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Violation
from services.inference.domain.model import Capability, Model

MAX_CHOICES: Final = 1_000
MAX_CHOICE_CHARACTERS: Final = 1_024
MAX_REGEX_CHARACTERS: Final = 4_096
MAX_GRAMMAR_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an output is one of. At most one of them is set."""

    choice: tuple[str, ...] = ()
    """These texts."""
    regex: str = ""
    """What this expression matches as a whole."""
    grammar: str = ""
    """What this grammar derives."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of those that are set."""
        return tuple(name for name in ("choice", "regex", "grammar") if getattr(self, name))


FREE: Final = Constraint()


def faults(constraint: Constraint, model: Model, *, others: tuple[str, ...]) -> Iterator[Violation]:
    """What is wrong with it; `others` are fields that are set and bind an output, too."""
    fields = constraint.fields
    if not fields:
        return
    if Capability.CONSTRAINT not in model.capabilities:
        fault = f"binds nothing that {model.name} says"
        fix = "leave it out, or name a model whose capabilities include constraint"
        yield Violation(fields[0], fault, fix)
    if together := (*fields[1:], *others):
        fault = f"is sent together with {', '.join(together)}"
        yield Violation(fields[0], fault, "leave all but one of them out")
    yield from _sizes(constraint)


def _sizes(constraint: Constraint) -> Iterator[Violation]:
    if len(constraint.choice) > MAX_CHOICES:
        fault = f"has {len(constraint.choice)} texts; at most {MAX_CHOICES} are taken"
        yield Violation("choice", fault, "send fewer")
    for index, text in enumerate(constraint.choice[:MAX_CHOICES]):
        if not 1 <= len(text) <= MAX_CHOICE_CHARACTERS:
            fix = f"send 1 to {MAX_CHOICE_CHARACTERS} characters"
            yield Violation(f"choice[{index}]", f"has {len(text)} characters", fix)
    if len(constraint.regex) > MAX_REGEX_CHARACTERS:
        fault = f"has {len(constraint.regex)} characters; at most {MAX_REGEX_CHARACTERS} are taken"
        yield Violation("regex", fault, "send a shorter one")
    if (size := len(constraint.grammar.encode())) > MAX_GRAMMAR_BYTES:
        fault = f"has {size} bytes; at most {MAX_GRAMMAR_BYTES} are taken"
        yield Violation("grammar", fault, "send a smaller one")
