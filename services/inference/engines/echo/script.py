"""The scripts that the echo engine plays: what is in a user's message, step by step. Pure.

`tool:NAME {json}` lines become tool calls, consecutive ones in one step; `sleep:MS`, `fail`,
`cut`, `garbage` and `thought:TEXT` belong to the step they stand before; `tokens:N` makes the
answer N tokens long; all other lines are the answer. What does not parse is answer, too.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Never, overload

from services.inference.domain.request import JSON, Message

MAX_SLEEP_MS: Final = 600_000
MAX_TOKENS: Final = 1_000_000
NOTHING_TO_SAY: Final = "done"

_TOOL: Final = re.compile(r"tool:([A-Za-z0-9_-]{1,64})(?:\s+(\S.*))?")
_NUMBER: Final = re.compile(r"(sleep|tokens):(\d{1,9})")
_THOUGHT: Final = re.compile(r"thought:(.*)")
_FLAGS: Final = ("fail", "cut", "garbage")
_TOKEN: Final = re.compile(r"\S+\s*|\s+")


@dataclass(slots=True)
class Step:
    """One turn of a script. Without calls it is the answer."""

    calls: list[dict[str, JSON]] = field(default_factory=list)
    sleep_ms: int = 0
    thought: str = "echo"
    flags: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Script:
    """A user's message as the echo engine plays it."""

    steps: Sequence[Step]
    """The turns that call tools."""
    answer: Step
    """The last turn."""
    text: str
    """What the last turn says."""
    tokens: int | None
    """How many tokens to say instead, where the script has `tokens:N`."""

    def step(self, messages: Sequence[Message]) -> Step:
        """The step to play: as many are over as the assistant spoke since the user did."""
        turns = 0
        for message in reversed(messages):
            if message.role == "user":
                break
            turns += message.role == "assistant"
        return self.steps[turns] if turns < len(self.steps) else self.answer


def last_user_text(messages: Sequence[Message]) -> str:
    """What the user said last; empty if nothing."""
    return next((each.content for each in reversed(messages) if each.role == "user"), "")


def parse(text: str) -> Script:
    """The script that a text is."""
    steps: list[Step] = []
    plain: list[str] = []
    tokens: int | None = None
    step = Step()
    for line in text.splitlines():
        bare = line.strip()
        call = _call(bare)
        if call is not None:
            step.calls.append(call)
            continue
        if step.calls:
            steps.append(step)
            step = Step()
        if (match := _NUMBER.fullmatch(bare)) and match[1] == "tokens":
            tokens = min(int(match[2]), MAX_TOKENS)
        elif not _direct(step, bare):
            plain.append(line)
    if step.calls:
        steps.append(step)
        step = Step()
    return Script(steps, step, "\n".join(plain).strip() or NOTHING_TO_SAY, tokens)


def _call(line: str) -> dict[str, JSON] | None:
    match = _TOOL.fullmatch(line)
    if not match:
        return None
    if match[2] is None:
        return {"tool": match[1], "input": {}}
    try:
        return {"tool": match[1], "input": loads(match[2])}
    except ValueError:
        return None


def _direct(step: Step, line: str) -> bool:
    if line in _FLAGS:
        step.flags.add(line)
    elif match := _NUMBER.fullmatch(line):
        step.sleep_ms = min(step.sleep_ms + int(match[2]), MAX_SLEEP_MS)
    elif match := _THOUGHT.fullmatch(line):
        step.thought = match[1].strip()
    else:
        return False
    return True


def loads(text: str) -> JSON:
    """JSON, without the numbers that JSON does not have.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        value: JSON = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # Half a surrogate pair is a ValueError.
    return value


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def split(text: str) -> list[str]:
    """The tokens of a text: words with the space after them."""
    return _TOKEN.findall(text)


class Counted(Sequence[str]):
    """`tok1 tok2 …`, so many of them, made when they are looked at."""

    def __init__(self, count: int) -> None:
        self._numbers = range(1, count + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._token(number) for number in self._numbers[index]]
        return self._token(self._numbers[index])

    def _token(self, number: int) -> str:
        return f"tok{number}" if number == len(self._numbers) else f"tok{number} "
