"""Where a task stands in its session, and what of the session its model is shown. References only:
the text is the tasks' own."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands in its session."""

    turn: int = 1
    sequence: int = 0
    """Of the turn's event; 0 for the first task of a session that began with it."""
    follows: str = ""
    """The task that has to end first."""


FIRST: Final = Place()


@dataclass(frozen=True, slots=True)
class Window:
    """What a task's model is shown of its session: always the same, whenever it is looked up."""

    after: int = 0
    """The turns with a sequence above this one are shown."""
    summary: int = 0
    """The sequence of the event whose summary is shown; 0 for none."""
    characters: int = 0
    """How much of each message is shown."""
    is_cut: bool = False
    """Whether turns are neither shown nor in the summary."""
    summarize_through: int = 0
    """The turn, by its sequence, up to which a summary is due after the task; 0 for none."""
