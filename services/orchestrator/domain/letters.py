"""What can be said to a task that is under way, as it lies in the task's inbox. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Violation,
    invalid,
)
from services.orchestrator.domain import asking
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import CHILD, Call, State, Task, evolve

STEERED: Final = ev.Failure("ABORTED", "STEERED", "the user said something more meanwhile")
MAX_TEXT_BYTES: Final = 16 * 1024
MAX_COMMENT: Final = 1000
MAX_OUTPUT_BYTES: Final = 2 * 1024 * 1024  # As JSON, as of a tool of the registry.
MAX_SAID: Final = 100  # Things said to one task: all of them are in its prompt.


@dataclass(frozen=True, slots=True)
class Cancel:
    """End, and say why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Say:
    """Somebody says something more."""

    text: str
    author: str
    key: str = ""
    """The author's own, for what may be sent twice and is said once."""


@dataclass(frozen=True, slots=True)
class Decide:
    """A tool call may run, or may not."""

    call_id: str
    is_approved: bool
    comment: str
    author: str


@dataclass(frozen=True, slots=True)
class Return:
    """What came of a tool call that the client ran; `error` when it failed."""

    call_id: str
    output: object
    error: str


@dataclass(frozen=True, slots=True)
class Respond:
    """What a tool asked for while it ran."""

    call_id: str
    responses: Mapping[str, object]
    author: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The task of an agent's call waits no more."""

    child_task_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait until told to go on."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on after a pause."""


Word = Cancel | Say | Decide | Return | Respond | Moved | Pause | GoOn

# Names are kept as long as letters are: a letter outlives the release that wrote it.
KINDS: Final[Mapping[str, type[Word]]] = {
    "cancel": Cancel,
    "say": Say,
    "decide": Decide,
    "return": Return,
    "respond": Respond,
    "child_moved": Moved,
    "pause": Pause,
    "go_on": GoOn,
}
_NAMES: Final = {kind: name for name, kind in KINDS.items()}


def written(word: Word) -> tuple[str, str]:
    """The kind and the body of a letter."""
    return _NAMES[type(word)], json.dumps(asdict(word), ensure_ascii=False)


def read(kind: str, body: str) -> Word:
    """What a letter says. Raises `KeyError` for a kind that was never used."""
    return KINDS[kind](**json.loads(body))


_MOST_BYTES: Final[Mapping[type[Word], tuple[str, str, int]]] = {
    Return: ("output", "output", MAX_OUTPUT_BYTES),
    Respond: ("responses", "input_responses", asking.MAX_RESPONSE_BYTES),
}
"""What is bounded as JSON: its attribute, and the field of a request that it comes from."""


def check(word: Word) -> None:
    """Refuse what no task could be told.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if isinstance(word, Say):
        if not word.text.strip():
            raise invalid(Violation("text", "is empty", "say what the agent is to consider"))
        if (size := len(word.text.encode())) > MAX_TEXT_BYTES:
            fix = f"send at most {MAX_TEXT_BYTES} bytes"
            raise invalid(Violation("text", f"is {size} bytes", fix))
    if (most := _MOST_BYTES.get(type(word))) is not None:
        attribute, field, most_bytes = most
        size = len(json.dumps(getattr(word, attribute), ensure_ascii=False).encode())
        if size > most_bytes:
            fix = f"send at most {most_bytes} bytes, as JSON"
            raise invalid(Violation(field, f"is {size} bytes", fix))
    fields = {Cancel: ("reason", 256), Decide: ("comment", MAX_COMMENT), Return: ("error", 1000)}
    if (bound := fields.get(type(word))) and len(getattr(word, bound[0])) > bound[1]:
        fix = f"send at most {bound[1]} characters"
        raise invalid(Violation(bound[0], "is too long", fix))


def is_news(task: Task, word: Word) -> bool:
    """Whether a task is to be told this; False if it knows already.

    Raises:
        FailedPrecondition: it cannot be said to this task, or not now.
        InvalidArgument: it is not what the task was to be told.
        AlreadyExists: `IDEMPOTENCY_KEY_REUSED`.
    """
    rule = _RULES.get(type(word), _asks)
    return rule(task, word)


def check_open(task: Task) -> None:
    """Raises FailedPrecondition `TASK_ALREADY_ENDED`."""
    if task.is_closed:
        raise FailedPrecondition(
            "TASK_ALREADY_ENDED",
            f"{task.spec.task_id} is {task.state.value}",
            task_id=task.spec.task_id,
            state=task.state.value,
            suggested_fix="begin another task, with the session_id of this one to go on from it",
        )


def _asks(task: Task, word: Word) -> bool:
    check_open(task)
    return True


def _says(task: Task, word: Say) -> bool:
    said = task.said_once.get((word.author, word.key)) if word.key else None
    if said is None:
        check_open(task)
        return True
    if said != word.text:
        raise AlreadyExists(
            "IDEMPOTENCY_KEY_REUSED",
            f"{task.spec.task_id} was told something else with this idempotency key",
            task_id=task.spec.task_id,
            field="idempotency_key",
            suggested_fix="send the same text, or another key",
        )
    return False


def check_said(task: Task, word: Word) -> None:
    """Refuse more than a task is to be told. What is accepted is heard.

    Raises:
        FailedPrecondition: `TASK_SAID_ENOUGH`, or `TASK_IS_TOOL_CALL`.
    """
    if isinstance(word, Say) and task.spec.call is not None:
        raise FailedPrecondition(
            "TASK_IS_TOOL_CALL",
            f"{task.spec.task_id} is a call of {task.spec.call.tool}: no model hears it",
            task_id=task.spec.task_id,
            suggested_fix="cancel it, or start another task",
        )
    if isinstance(word, Say) and len(task.said) >= MAX_SAID:
        raise FailedPrecondition(
            "TASK_SAID_ENOUGH",
            f"{task.spec.task_id} was told {MAX_SAID} things already",
            task_id=task.spec.task_id,
            limit=str(MAX_SAID),
            suggested_fix="start another task",
        )


def _decides(task: Task, word: Decide) -> bool:
    call = task.call(word.call_id)
    if call is not None and call.is_approved is word.is_approved:
        return False
    if call is not None and _is_of_answers(call) and not word.is_approved:
        return _is_asked(task, call)
    check_open(task)
    if call is None or call.wants != "approval":
        raise _refused("APPROVAL_NOT_PENDING", "waits for approval", task, word.call_id)
    return True


def _returns(task: Task, word: Return) -> bool:
    call = task.call(word.call_id)
    if call is not None and call.wants == "input" and call.has_returned:
        return False
    check_open(task)
    if call is None or call.wants != "input":
        raise _refused("INPUT_NOT_REQUIRED", "waits for its client", task, word.call_id)
    if call.requests is not None:
        fix = f"send input_responses with {', '.join(call.requests)}"
        raise invalid(Violation("input_responses", f"is missing: {call.tool} asks for it", fix))
    return True


def _responds(task: Task, word: Respond) -> bool:
    call = task.call(word.call_id)
    if call is None or call.requests is None:
        check_open(task)
        raise _refused("INPUT_NOT_REQUIRED", "asks for anything", task, word.call_id)
    if not _is_asked(task, call):
        return False
    asking.check(call.requests, word.responses)
    check(Respond(word.call_id, {**word.responses, **call.received}, word.author))
    return any(name in call.unanswered for name in word.responses)


def _is_of_answers(call: Call) -> bool:
    """Whether a denial is one of what its tool asks for, and not of the call."""
    return call.requests is not None and call.wants != "approval"


def _is_asked(task: Task, call: Call) -> bool:
    """Whether a tool still waits for what it asked for."""
    if call.has_returned or call.responses is not None:
        return False
    check_open(task)
    return True


def _refused(reason: str, what: str, task: Task, call_id: str) -> FailedPrecondition:
    wanted = {"APPROVAL_NOT_PENDING": "approval", "INPUT_NOT_REQUIRED": "input"}[reason]
    waiting = ", ".join(call.call_id for call in task.unreturned if call.wants == wanted)
    return FailedPrecondition(
        reason,
        f"{task.spec.task_id} has no tool call {call_id[:64]!r} that {what}",
        task_id=task.spec.task_id,
        tool_call_id=call_id[:64],
        field="tool_call_id",
        waiting=waiting,
        suggested_fix=f"use one of {waiting}" if waiting else "get the task: it may have gone on",
    )


_RULES: Final[Mapping[type[Word], Callable[[Task, Any], bool]]] = {
    Say: _says,
    Decide: _decides,
    Return: _returns,
    Respond: _responds,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is heard, and what that means for what was going on."""

    now: datetime
    max_wait: timedelta
    turn: ev.Turn = field(default_factory=ev.Turn)
    """What the model's turn took that is broken off."""

    def took(self, task: Task) -> ev.Turn:
        """The same, unless the task's log has it since a pause."""
        return ev.Turn() if task.state is State.WAITING or task.was_paused else self.turn


def heard(task: Task, words: Sequence[Word], at: Moment) -> Sequence[ev.Event]:
    """What becomes of a task that is told this, in order. What it can make nothing of is left out:
    it has gone on since it was said."""
    events: list[ev.Event] = []
    for word in words:
        for event in _effects(task, word, at) if _fits(task, word) else ():
            task = evolve(task, event)
            events.append(event)
    return events


def _effects(task: Task, word: Word, at: Moment) -> Sequence[ev.Event]:
    resumed = [ev.Resumed(at.now)] if task.state is State.WAITING else []
    match word:
        case Say(text, author, key):
            lost = [ev.StepAbandoned(at.now, *task.at, STEERED, at.took(task))]
            return [
                *resumed,
                *(lost if task.is_speaking else ()),
                ev.Steered(at.now, text, author, key),
            ]
        case Decide() | Return() | Respond():
            events = _of_call(task, word, at.now)
            waits_on = isinstance(events[0], ev.InputReceived)
            return events if waits_on else [*resumed, *events]
        case Moved(child_task_id):
            calls = [call for call in task.unreturned if call.child_task_id == child_task_id]
            moved = [
                ev.ChildChanged(at.now, *task.at, call.call_id, call.tool, child_task_id, "")
                for call in calls
                if call.wants == CHILD
            ]
            return [*resumed, *moved] if moved else ()
        case Pause() if task.state is State.RUNNING:
            turn = at.took(task) if task.is_speaking else ev.Turn()
            told = turn if turn.tokens else None
            return [ev.Waited(at.now, "continue", at.now + at.max_wait, told)]
        case GoOn() if task.wants == "continue":
            return resumed
    return ()


def _of_call(task: Task, word: Decide | Return | Respond, now: datetime) -> Sequence[ev.Event]:
    match word:
        case Decide():
            return _decided(task, word, now)
        case Respond():
            return [_given(task, word, now)]
        case Return(call_id, output, error):
            wrong = ev.Failure("UNKNOWN", "CLIENT_TOOL_FAILED", error) if error else None
            return [_returned(task, call_id, None if wrong else output, wrong, now)]


def _fits(task: Task, word: Word) -> bool:
    try:
        return is_news(task, word)
    except (AlreadyExists, FailedPrecondition, InvalidArgument):
        return False


def _given(task: Task, word: Respond, now: datetime) -> ev.Event:
    """What was answered: all, with what was before; or a part, where more is missing. Of two
    answers to the same the first counts."""
    call = task.call(word.call_id)
    tool, missing = (call.tool, call.unanswered) if call else ("", {})
    new = {name: each for name, each in word.responses.items() if name in missing}
    if call is not None and len(new) == len(missing):
        whole = {**call.received, **new}
        return ev.InputGiven(now, *task.at, word.call_id, tool, whole, word.author)
    return ev.InputReceived(now, *task.at, word.call_id, tool, new, word.author)


def _decided(task: Task, word: Decide, now: datetime) -> Sequence[ev.Event]:
    call = task.call(word.call_id)
    if call is not None and _is_of_answers(call):
        no = asking.declined(call.unanswered)
        return [_given(task, Respond(word.call_id, no, word.author), now)]
    tool = call.tool if call else ""
    decided = ev.ApprovalDecided(
        now, *task.at, word.call_id, tool, word.is_approved, word.comment, word.author
    )
    if word.is_approved:
        return [decided]
    why = f"the call was denied: {word.comment}" if word.comment else "the call was denied"
    failure = ev.Failure("PERMISSION_DENIED", "TOOL_CALL_DENIED", why, "go on without this call")
    return [decided, _returned(task, word.call_id, None, failure, now)]


def _returned(
    task: Task, call_id: str, output: object, failure: ev.Failure | None, now: datetime
) -> ev.Event:
    call = task.call(call_id)
    tool, version = (call.tool, call.tool_version) if call else ("", "")
    took = (now - task.update_time).total_seconds() * 1000 if failure is None else 0.0
    return ev.ToolReturned(
        now, *task.at, call_id, tool, version, output, failure, round(max(0.0, took), 3)
    )
