"""A session: what its events add up to, and what may happen in it. Everything here is pure.

A turn is a task. Its query and its answer are the messages 2n-1 and 2n of turn n.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.chassis.errors import FailedPrecondition, NotFound
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.task import CLOSED, State

MAX_TURNS: Final = 5_000
SUMMARY_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told in place of turns that are not shown any more."""

    text: str
    through_turn: int
    """The latest turn it covers."""
    through: int
    """The sequence of that turn's event."""
    sequence: int = 0
    """The sequence of its own event."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a session, and when."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Created(Event):
    """It began."""

    session_id: str
    tenant: str
    owner: str
    on_busy: str
    labels: Mapping[str, str]
    forked_from: str = ""


@dataclass(frozen=True, slots=True)
class TurnAdded(Event):
    """A task is the next turn. It may not have begun yet."""

    turn: int
    task_id: str
    follows: str = ""
    """The task that has to end first; empty if it need not wait."""
    has_answer: bool = True
    """Whether its answer belongs to the session; False where that was forked at the query."""
    is_forked: bool = False
    """Whether it is another session's task, which this one only looks at."""


@dataclass(frozen=True, slots=True)
class TurnVoided(Event):
    """The task of the latest turn was refused: there is none."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Summarized(Event):
    """A model wrote down what the turns so far were about."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class Updated(Event):
    """Its policy and its labels are these from now on."""

    on_busy: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deleted(Event):
    """Nothing can be asked in it any more."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it stands after `sequence` events.

    One with a single task has no events yet, so that starting it is one commit; `opening` says what
    they would have been.
    """

    session_id: str
    tenant: str
    owner: str
    on_busy: str
    labels: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    sequence: int = 0
    turns: int = 0
    last: str = ""
    """The task of its latest turn that may still go on; empty for none."""
    follows: str = ""
    """The task that this one waits for, or waited for."""
    summary: Summary | None = None
    forked_from: str = ""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a task asked and answered, as far as it has come."""

    task_id: str
    state: State
    query: str
    answer: str
    began: datetime
    ended: datetime
    follows: str = ""
    """The task that it waits for, or waited for when it ended; empty once it has run."""
    reference: Large | None = None
    """Where the whole answer is, when `answer` is only its beginning."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in CLOSED


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a session."""

    number: int
    role: str
    content: str
    time: datetime
    task_id: str
    sequence: int
    """Of its turn's event."""
    reference: Large | None = None
    """Where the whole of it is, when `content` is only its beginning."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn, and what was said in it."""

    sequence: int
    turn: int
    said: Transcript
    has_answer: bool = True

    @property
    def lines(self) -> Sequence[Line]:
        """Its query, and its answer if there is one."""
        said, number = self.said, 2 * self.turn
        lines = [Line(number - 1, "user", said.query, said.began, said.task_id, self.sequence)]
        if self.has_answer and said.is_over and said.answer:
            written = (said.answer, said.ended, said.task_id, self.sequence, said.reference)
            lines.append(Line(number, "assistant", *written))
        return lines


Changes = dict[str, Any]


def evolve(session: Session | None, event: Event) -> Session:
    """Apply one event. Raises `KeyError` if it cannot happen now: the history is corrupt."""
    if isinstance(event, Created):
        return Session(
            event.session_id,
            event.tenant,
            event.owner,
            event.on_busy,
            event.labels,
            event.time,
            event.time,
            sequence=1,
            forked_from=event.forked_from,
        )
    if session is None or session.is_deleted:
        raise KeyError(type(event))
    changes = _CHANGES[type(event)](session, event)
    return replace(session, sequence=session.sequence + 1, **changes)


def opening(session: Session) -> Sequence[Event]:
    """The events of a session that has none yet: it began with a task."""
    time = session.create_time
    return [
        Created(
            time,
            session.session_id,
            session.tenant,
            session.owner,
            session.on_busy,
            session.labels,
        ),
        TurnAdded(time, 1, session.last),
    ]


def existing(session: Session | None, session_id: str) -> Session:
    """The session, if there is one.

    Raises:
        NotFound: `SESSION_NOT_FOUND`; also of one that was deleted.
    """
    if session is None or session.is_deleted:
        raise NotFound(
            "SESSION_NOT_FOUND",
            f"there is no session {session_id[:64]}",
            field="session_id",
            session_id=session_id[:64],
            suggested_fix="use the session_id of an answer, or leave it out for a new session",
        )
    return session


def check_room(session: Session) -> None:
    """Raises `FailedPrecondition` (`SESSION_FULL`) where no turn can be added."""
    if session.turns >= MAX_TURNS:
        raise FailedPrecondition(
            "SESSION_FULL",
            f"{session.session_id} has {session.turns} turns, and no session has more",
            field="session_id",
            session_id=session.session_id,
            turns=str(session.turns),
            suggested_fix="begin a new session",
        )


def busy(session: Session, task_id: str) -> FailedPrecondition:
    """Why a request is refused: the task before it goes on."""
    return FailedPrecondition(
        "SESSION_BUSY",
        f"{task_id} goes on in {session.session_id}",
        field="session_id",
        session_id=session.session_id,
        task_id=task_id,
        suggested_fix=f"wait for {task_id}, cancel it, or set on_busy to enqueue or interrupt",
    )


def _turn_added(session: Session, event: TurnAdded) -> Changes:
    last = "" if event.is_forked else event.task_id
    changes = {"last": last, "follows": event.follows}
    return {"turns": event.turn, "update_time": event.time, **changes}


def _turn_voided(session: Session, event: TurnVoided) -> Changes:
    return {"last": session.follows, "follows": ""} if session.last == event.task_id else {}


def _summarized(session: Session, event: Summarized) -> Changes:
    return {"summary": replace(event.summary, sequence=session.sequence + 1)}


def _updated(session: Session, event: Updated) -> Changes:
    return {"on_busy": event.on_busy, "labels": event.labels, "update_time": event.time}


def _deleted(session: Session, event: Deleted) -> Changes:
    return {"is_deleted": True, "update_time": event.time}


_CHANGES: Final[dict[type[Event], Callable[..., Changes]]] = {
    TurnAdded: _turn_added,
    TurnVoided: _turn_voided,
    Summarized: _summarized,
    Updated: _updated,
    Deleted: _deleted,
}
