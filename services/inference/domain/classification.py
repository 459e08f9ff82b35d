"""Texts and the labels to choose from: what is taken, what the model is told, what comes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import Violation, invalid
from services.inference.domain.request import Message, Priority
from services.inference.domain.scoring import Scoring, shares
from services.inference.domain.texts import text_faults, too_large

MIN_LABELS: Final = 2
MAX_LABELS: Final = 100
MAX_LABEL_CHARACTERS: Final = 128
MAX_EXAMPLES: Final = 64
SCORE_BYTES: Final = 24  # What a label's scores take beside it.

TASK: Final = "Classify the text. Answer with exactly one of these labels, and with nothing else:"


@dataclass(frozen=True, slots=True)
class Example:
    """A text, and the label that is right for it."""

    input: str
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a text is asked. An empty `model` means the first one that can classify."""

    labels: tuple[str, ...]
    model: str = ""
    instructions: str = ""
    """What to go by, in the caller's words; the labels are listed behind them."""
    examples: tuple[Example, ...] = ()
    priority: Priority = Priority.INTERACTIVE


@dataclass(frozen=True, slots=True)
class Ranked:
    """A label and its share of the probability of all of them."""

    label: str
    score: float


def check(question: Question, inputs: Sequence[str], *, field: str, max_bytes: int) -> None:
    """Refuse what no model takes. `field` has the inputs; `max_bytes` bounds all texts together.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with every fault.
    """
    labels = question.labels
    others = [question.instructions, *labels]
    others += [text for each in question.examples for text in (each.input, each.label)]
    faults = [
        *_label_faults(labels),
        *_example_faults(question),
        *text_faults(inputs, others, field=field, max_bytes=max_bytes),
        *too_large(len(inputs), sum(len(label.encode()) + SCORE_BYTES for label in labels)),
    ]
    if faults:
        raise invalid(*faults)


def scoring(question: Question, text: str, model: str) -> Scoring:
    """What the model is asked about one text."""
    return Scoring(model, _messages(question, text), question.labels, question.priority)


def ranked(labels: Sequence[str], log_probabilities: Sequence[float]) -> tuple[Ranked, ...]:
    """The labels, the likeliest first; the scores of all sum to 1."""
    scored = map(Ranked, labels, shares(log_probabilities))
    return tuple(sorted(scored, key=lambda each: -each.score))


def _messages(question: Question, text: str) -> tuple[Message, ...]:
    listed = "\n".join(f"- {label}" for label in question.labels)
    told = f"{TASK}\n{listed}"
    if question.instructions:
        told = f"{question.instructions}\n\n{told}"
    shown = [
        message
        for each in question.examples
        for message in (Message("user", each.input), Message("assistant", each.label))
    ]
    return (Message("system", told), *shown, Message("user", text))


def _label_faults(labels: Sequence[str]) -> Iterator[Violation]:
    if not MIN_LABELS <= len(labels) <= MAX_LABELS:
        fault = f"has {len(labels)} labels; {MIN_LABELS} to {MAX_LABELS} are taken"
        yield Violation("labels", fault, f"send {MIN_LABELS} to {MAX_LABELS} labels")
        return
    known: set[str] = set()
    for index, label in enumerate(labels):
        if label in known:
            fault = f"is {label[:32]!r}, which stands there before"
            yield Violation(f"labels[{index}]", fault, "send each label once")
        elif not label.strip() or len(label) > MAX_LABEL_CHARACTERS:
            fault = f"is blank, or has more than {MAX_LABEL_CHARACTERS} characters"
            fix = f"send 1 to {MAX_LABEL_CHARACTERS} characters that can be seen"
            yield Violation(f"labels[{index}]", fault, fix)
        known.add(label)


def _example_faults(question: Question) -> Iterator[Violation]:
    if len(question.examples) > MAX_EXAMPLES:
        fault = f"has {len(question.examples)} examples; at most {MAX_EXAMPLES} are taken"
        yield Violation("examples", fault, "send fewer examples")
        return
    known = frozenset(question.labels)
    for index, example in enumerate(question.examples):
        if example.label not in known:
            fault = f"is {example.label[:32]!r}, which is none of the labels"
            yield Violation(f"examples[{index}].label", fault, "use one of the labels")
        if not example.input:
            fault = "is empty"
            yield Violation(f"examples[{index}].input", fault, "send a text that has the label")
