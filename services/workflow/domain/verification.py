"""Whether a workflow's events are whole and possible, and lead to what is kept beside. Pure.

Each event names the hash of the one before it, so one that is changed is given away by the next,
and the last one by what is kept beside. What is found names fields, and never what they hold.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final

from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance, Standing

MOST: Final = 100
"""Findings of one workflow; what is wrong beyond them is not told."""


class Fault(enum.Enum):
    """What can be wrong."""

    EVENT_CHANGED = "EVENT_CHANGED"
    EVENT_UNREADABLE = "EVENT_UNREADABLE"
    EVENT_IMPOSSIBLE = "EVENT_IMPOSSIBLE"
    SNAPSHOT_DIFFERS = "SNAPSHOT_DIFFERS"
    PROJECTION_DIFFERS = "PROJECTION_DIFFERS"
    PROJECTION_MISSING = "PROJECTION_MISSING"


OF_EVENTS: Final = frozenset({Fault.EVENT_CHANGED, Fault.EVENT_UNREADABLE, Fault.EVENT_IMPOSSIBLE})
"""Those that nobody can repair: the truth itself is not what was recorded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    fault: Fault
    message: str
    sequence: int = 0
    """The event's, where it is about one."""
    is_repaired: bool = False


LAST: Final = "last_sequence"
BEHIND: Final = Finding(Fault.PROJECTION_DIFFERS, LAST)
"""What is shown is right, of an event before the last one."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a workflow."""

    workflow_id: str
    count: int
    """Of its events."""
    last_sequence: int
    findings: Sequence[Finding] = ()

    @property
    def is_broken(self) -> bool:
        """Whether its events are not what was recorded."""
        return any(each.fault in OF_EVENTS for each in self.findings)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it was read."""

    sequence: int
    digest: str
    """The SHA-256 of what is stored."""
    event: ev.Event | None
    """What it says; None where that cannot be read."""
    previous: str = ""
    """The digest that it names of the event before."""
    differs: tuple[str, ...] = ()
    """What is stored beside it and is not as it says itself, such as `time`."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A workflow's projection: what lists show."""

    sequence: int
    """Of the last event that it shows; 0 where that cannot be read."""
    head: str
    """The digest of that event."""
    differences: Callable[[Standing], Sequence[str]]
    """What it shows otherwise than the workflow stands after that event."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A workflow's snapshot."""

    sequence: int
    head: str
    instance: Instance | None
    """None where it cannot be read."""

    def differences(self, at: Standing) -> Sequence[str]:
        """What it holds otherwise than the workflow stands after its last event."""
        if (mine := self.instance) is None:
            return ["all: it cannot be read"]
        names = (each.name for each in fields(mine))
        return [name for name in names if getattr(mine, name) != getattr(at.instance, name)]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is kept beside a workflow's events."""

    shown: Shown | None
    summary: Summary | None
    mark: object
    """Equal as long as neither is written anew."""


class Following:
    """Follows a workflow's events from the first to the last."""

    def __init__(self, definition: Definition | None, beside: Beside) -> None:
        """`definition` is None where it is not known: then no event is possible."""
        self.definition = definition
        self.instance: Instance | None = None
        """As it stands after the events so far; None from the first on that leads nowhere."""
        self.head = ""
        self.sequence = 0
        self.count = 0
        self.findings: list[Finding] = []
        self._beside = beside
        self._is_possible = True
        self._is_broken = False
        self._at: dict[int, tuple[str, Sequence[str] | None]] = {}

    def follow(self, recorded: Recorded) -> None:
        """One more event."""
        self._link(recorded)
        if recorded.differs:
            what = " and ".join(recorded.differs)
            self._find(Fault.EVENT_CHANGED, f"is not stored with its own {what}", recorded.sequence)
        self.count += 1
        self.sequence, self.head = recorded.sequence, recorded.digest
        self._fold(recorded)
        for each in (self._beside.shown, self._beside.summary):
            if each is not None and each.sequence == recorded.sequence:
                self._compare(each)

    def end(self) -> Sequence[Finding]:
        """All that is wrong, once there are no more events."""
        self._check_last()
        shown, summary = self._beside.shown, self._beside.summary
        if shown is None:
            self._find(Fault.PROJECTION_MISSING, "there is none")
        elif wrong := self._wrong(shown, is_newest=True):
            self._find(Fault.PROJECTION_DIFFERS, ", ".join(wrong))
        if summary is not None and (wrong := self._wrong(summary, is_newest=False)):
            self._find(Fault.SNAPSHOT_DIFFERS, ", ".join(wrong))
        return self.findings

    def _link(self, recorded: Recorded) -> None:
        """That it is the next one, and names the one before it."""
        before = self.sequence
        if recorded.sequence != before + 1:
            last = f" to {recorded.sequence - 1}" if recorded.sequence > before + 2 else ""
            self._find(Fault.EVENT_CHANGED, f"is missing{last}", before + 1)
            self._is_possible, self.instance = False, None
        elif recorded.event is not None and recorded.previous != self.head:
            said = "is not the one that the next event names" if before else "names one before it"
            self._find(Fault.EVENT_CHANGED, said, max(before, 1))

    def _fold(self, recorded: Recorded) -> None:
        if recorded.event is None:
            self._find(Fault.EVENT_UNREADABLE, "cannot be read", recorded.sequence)
            self._is_possible, self.instance = False, None
        if not self._is_possible or recorded.event is None:
            return
        if (instance := self._after(recorded.event)) is None:
            said = "cannot have happened after the events before it"
            if self.definition is None and isinstance(recorded.event, ev.Started):
                said = "began a workflow whose definition is not there"
            self._find(Fault.EVENT_IMPOSSIBLE, said, recorded.sequence)
            self._is_possible = False
        self.instance = instance

    def _after(self, event: ev.Event) -> Instance | None:
        """The workflow after one more event, if that is possible."""
        if self.definition is None:
            return None
        try:
            return evolve(self.definition, self.instance, event)
        except (KeyError, ValueError):
            return None

    def _compare(self, kept: Shown | Summary) -> None:
        differences: Sequence[str] | None = None
        if self.instance is not None and self.definition is not None:
            at = Standing(self.definition, self.instance, self.instance.update_time)
            differences = kept.differences(at)
        self._at[id(kept)] = self.head, differences

    def _check_last(self) -> None:
        """No event names the last one: what is kept beside has to."""
        kept = [each for each in (self._beside.shown, self._beside.summary) if each and each.head]
        if any(each.head == self.head for each in kept):
            return
        if any(each.sequence > self.sequence for each in kept):
            self._find(Fault.EVENT_CHANGED, "is missing", self.sequence + 1)
        elif any(each.sequence in {0, self.sequence} for each in kept):
            said = "is not the one that was kept beside"
            self._find(Fault.EVENT_CHANGED, said, self.sequence)

    def _wrong(self, kept: Shown | Summary, *, is_newest: bool) -> Sequence[str]:
        """What differs between what is kept and where its events led."""
        if kept.sequence == 0 or kept.sequence > self.sequence:
            return [LAST]
        digest, differences = self._at.get(id(kept), ("", ()))
        wrong = list(differences or ())
        if is_newest and kept.sequence < self.sequence:
            wrong.append(LAST)
        if kept.head != digest and (kept.sequence < self.sequence or not self._is_broken):
            wrong.append("head")
        return wrong

    def _find(self, fault: Fault, message: str, sequence: int = 0) -> None:
        self._is_broken = self._is_broken or fault in OF_EVENTS
        if len(self.findings) < MOST:
            self.findings.append(Finding(fault, message, sequence))
