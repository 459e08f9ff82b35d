"""Actions and validators of a definition's document."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from services.chassis.documents.members import Member
from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.workflow.domain.cel_costs import ExpressionError
from services.workflow.domain.definition import RETRY, Action, Guard, Kind, Retry, Validator
from services.workflow.domain.expressions import (
    GUARDING,
    UNDOING,
    VARIABLES,
    compiled,
    fault,
    written,
)

MAX_ACTIONS: Final = 20
MAX_ATTEMPTS: Final = 10
MAX_INPUT_BYTES: Final = 64 * 1024
MAX_EXPRESSIONS: Final = 1_000
"""In a definition: compiling takes time."""
MAX_VERSION: Final = 128
MAX_EXPRESSION: Final = 16 * 1024

KINDS: Final = {kind.value: kind for kind in Kind}
COMMON: Final = ("name", "save_as", "timeout", "retry", "compensation")
OWN: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.TOOL: ("version", "input"),
    Kind.AGENT: ("query", "response_schema", "input"),
    Kind.WORKFLOW: ("version", "data", "input"),
    Kind.EVENT: ("payload", "input"),
}
"""What only some kinds have; what each is given stands under `input`, or under its own words."""
RETRYING: Final = ("attempts", "initial", "factor", "max")

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_ALIASES: Final[Mapping[Kind, str]] = {Kind.WORKFLOW: "data", Kind.EVENT: "payload"}
_LONGEST: Final[Mapping[Kind, timedelta]] = {
    Kind.TOOL: timedelta(days=400),
    Kind.AGENT: timedelta(seconds=300),  # A task has no more.
}
"""Of one attempt; the others have no time of their own."""
_SHORT: Final = timedelta(milliseconds=1)
_PAUSE: Final = timedelta(hours=1)


def actions(member: Member, default: Retry) -> tuple[Action, ...]:
    """A state's actions; names that none was given are made of what they do."""
    found: list[Action] = []
    names: set[str] = set()
    for each in member.items(MAX_ACTIONS, "actions"):
        made = action(each, default, known=VARIABLES, taken=names)
        if made is None:
            continue
        if made.name in names:
            each.at("name").wrong(f"names a second action {made.name}", "give it another name")
        names.add(made.name)
        found.append(made)
    return tuple(found)


def action(
    member: Member,
    default: Retry,
    *,
    known: tuple[str, ...],
    taken: Collection[str] = (),
) -> Action | None:
    """An action; None where it does not say what it does."""
    if (kind := _kind(member)) is None:
        return None
    members = member.members((kind.value, *COMMON, *OWN[kind]))
    target = members[kind.value].name()
    made = Action(
        name=members["name"].name() if "name" in members else _free(target, taken),
        kind=kind,
        target=target,
        version=_version(kind, members.get("version")),
        input=_input(kind, members, known),
        save_as=members["save_as"].name() if "save_as" in members else "",
        retry=retry(members["retry"], default) if "retry" in members else default,
        compensation=_compensation(members.get("compensation"), default),
    )
    if "timeout" not in members:
        return made
    return _timed(made, members["timeout"])


def _timed(made: Action, member: Member) -> Action:
    if (longest := _LONGEST.get(made.kind)) is None:
        said, fix = (
            f"means nothing for a {made.kind.value}",
            "give one to the state, or leave it out",
        )
        member.wrong(said, fix, of_key=True)
        return made
    return replace(made, timeout=member.duration(_SHORT, longest, made.timeout))


def _kind(member: Member) -> Kind | None:
    """What it does: there is exactly one word for it."""
    if not member.is_object:
        member.wrong(
            "is no action", "write {tool: NAME}, {agent: NAME}, {workflow: NAME} or {event: TYPE}"
        )
        return None
    words = [word for word in KINDS if word in member.value]
    if len(words) == 1:
        return KINDS[words[0]]
    said = f"has {' and '.join(words)}" if words else "does not say what to do"
    member.wrong(said, f"use exactly one of {', '.join(KINDS)}")
    member.members((*KINDS, *COMMON, *{name for own in OWN.values() for name in own}))
    return None


def _free(target: str, taken: Collection[str]) -> str:
    name, number = target, 1
    while name in taken:
        number += 1
        name = f"{target[:60]}_{number}"
    return name


def _version(kind: Kind, member: Member | None) -> str:
    """A workflow's is a number: 3 is as good as "3"."""
    if member is None:
        return ""
    is_number = isinstance(member.value, int) and not isinstance(member.value, bool)
    text = str(member.value) if is_number else member.text(MAX_VERSION)
    if kind is Kind.WORKFLOW and text and not _NUMBER.fullmatch(text):
        member.wrong("is no version of a workflow", "use 1, 2, …, or leave it out for the newest")
    return text


def _input(kind: Kind, members: Mapping[str, Member], known: tuple[str, ...]) -> dict[str, Any]:
    word = _ALIASES.get(kind, "input")
    if word != "input" and word in members and "input" in members:
        members["input"].wrong(f"stands beside {word}", f"keep {word}", of_key=True)
    given = members.get(word) or members.get("input")
    found = _template(given, known) if given is not None else {}
    if kind is Kind.AGENT:
        found |= _asked(members, known)
    return found


def _template(member: Member, known: tuple[str, ...]) -> dict[str, Any]:
    if not member.is_object:
        member.wrong("is no object", "write an object, whose texts may hold ${…}")
        return {}
    _sized(member)
    _templated(member, known)
    return dict(member.value)


def _sized(member: Member) -> None:
    size = len(json.dumps(member.value, ensure_ascii=False).encode())
    if size > MAX_INPUT_BYTES:
        said = f"has {size:,} bytes; at most {MAX_INPUT_BYTES:,} are allowed"
        member.wrong(said, "shorten it")


def _templated(member: Member, known: tuple[str, ...]) -> None:
    found = written(member.value, member.path)
    member.sheet.expressions += len(found)
    if member.sheet.expressions > MAX_EXPRESSIONS:
        said = f"has the expression that is one too many; at most {MAX_EXPRESSIONS:,} are allowed"
        member.wrong(said, "use fewer")
        return
    for path, text in found:
        if error := fault(text, known):
            Member(member.sheet, path, [None], 0).miswritten(error, text)


def _asked(members: Mapping[str, Member], known: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "query" in members and (query := members["query"].text(MAX_INPUT_BYTES)):
        _templated(members["query"], known)
        found["query"] = query
    if "response_schema" in members:
        found["response_schema"] = members["response_schema"].value
        try:
            Schema(found["response_schema"], field="response_schema")
        except InvalidArgument as error:
            for each in error.violations:
                members["response_schema"].wrong(each.message, each.suggested_fix)
    return found


def retry(member: Member, default: Retry = RETRY) -> Retry:
    """How often something is tried; what it does not say is as in `default`."""
    found = member.members(RETRYING)
    made = default
    if "attempts" in found:
        made = replace(made, attempts=found["attempts"].number(1, MAX_ATTEMPTS, made.attempts))
    if "initial" in found:
        made = replace(made, initial=found["initial"].duration(_SHORT, _PAUSE, made.initial))
    if "factor" in found:
        made = replace(made, factor=found["factor"].number(1.0, 100.0, made.factor))
    if "max" in found:
        made = replace(made, maximum=found["max"].duration(_SHORT, _PAUSE, made.maximum))
    if made.maximum < made.initial:
        member.wrong("waits at most less than at first", "let max be at least initial")
    return made


def _compensation(member: Member | None, default: Retry) -> Action | None:
    if member is None:
        return None
    made = action(member, default, known=UNDOING)
    if made is None:
        return None
    if made.kind is Kind.WORKFLOW:
        fix = "use a tool, an agent or an event; a workflow that is started undoes itself"
        member.at("workflow").wrong("cannot be a compensation", fix, of_key=True)
    for word in ("compensation", "save_as"):
        if word in member.value:
            member.at(word).wrong("cannot stand in a compensation", "leave it out", of_key=True)
    return made


def guard(member: Member, default: Retry) -> Guard | None:
    """A state's validator."""
    if member.value == Validator.APPROVER.value:
        return Guard(Validator.APPROVER)
    words = [word for word in ("cel", "tool", "agent") if member.is_object and word in member.value]
    if len(words) != 1:
        fix = (
            "write approver, {cel: EXPRESSION}, {tool: NAME, input: {…}} or {agent: NAME, query: …}"
        )
        member.wrong("is no validator", fix)
        return None
    if words == ["cel"]:
        return _expression(member.members(("cel",))["cel"])
    made = action(member, default, known=GUARDING)
    for word in ("compensation", "save_as"):
        if word in member.value:
            member.at(word).wrong("cannot stand in a validator", "leave it out", of_key=True)
    return Guard(Validator(words[0]), action=made) if made else None


def _expression(member: Member) -> Guard | None:
    text = member.text(MAX_EXPRESSION)
    if not isinstance(member.value, str):
        return None
    try:
        compiled(text, GUARDING)
    except ExpressionError as error:
        member.miswritten(error, text)
        return None
    return Guard(Validator.CEL, expression=text)
