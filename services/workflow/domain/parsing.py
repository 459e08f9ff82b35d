"""A definition's document as a `Definition`. It has to be well-formed here; whether its states make
sense together is for `checks`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.chassis.documents.members import MAX_DURATION, NAME_FIX, Member, Sheet, is_name
from services.chassis.documents.places import Reading
from services.chassis.documents.problem import Problem
from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.workflow.domain.actions import actions, guard, retry
from services.workflow.domain.definition import RETRY, Definition, Source, State, Terminal, Timeout

MAX_STATES: Final = 100
MAX_TRANSITIONS: Final = 50
MAX_DESCRIPTION: Final = 4_096
MAX_SCHEMA_BYTES: Final = 64 * 1024

DEFINITION: Final = (
    "name",
    "description",
    "initial",
    "state_machine",
    "event_source",
    "events",
    "schema",
)
STATE: Final = (
    "transitions",
    "on",
    "on_enter",
    "on_success",
    "on_failure",
    "validator",
    "timeout",
    "retry",
    "terminal",
    "compensable",
)

_SOURCE: Final = re.compile(r"kafka://(?P<alias>[^/]*)/(?P<topic>.*)", re.DOTALL)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SHORTEST: Final = timedelta(milliseconds=100)


def parsed(reading: Reading) -> tuple[Definition | None, list[Problem]]:
    """The definition and what is wrong with it; None where there are no states to
    check."""
    sheet = Sheet(reading)
    whole = Member(sheet, "", [reading.value], 0)
    members = whole.members(DEFINITION)
    for needed in ("name", "state_machine"):
        if needed not in members and whole.is_object:
            whole.wrong(f"has no {needed}", f"add {needed}")
    name = members["name"].name() if "name" in members else ""
    declared = _states(members["state_machine"]) if "state_machine" in members else {}
    states = _with_leaves(declared)
    if len(states) > MAX_STATES:
        said = f"has {len(states)} states; at most {MAX_STATES} are allowed"
        members["state_machine"].wrong(said, "split it into several workflows")
    definition = Definition(
        name=name,
        states=states,
        initial=members["initial"].name() if "initial" in members else "",
        source=_source(members.get("event_source")),
        events=_events(members.get("events")),
        schema=_schema(members.get("schema")),
        description=members["description"].text(MAX_DESCRIPTION)
        if "description" in members
        else "",
        document=reading.value,
    )
    if not 0 < len(states) <= MAX_STATES:
        return None, sheet.problems
    return replace(definition, initial=definition.initial or _first(declared)), sheet.problems


def _states(member: Member) -> dict[str, State]:
    entries = member.entries()
    if member.is_object and not entries:
        member.wrong("has no states", "name at least one state")
    for name, each in entries.items():
        if not is_name(name):
            each.wrong(f"is not a name: {name[:64]!r}", NAME_FIX, of_key=True)
    return {name: _state(name, each) for name, each in entries.items()}


def _state(name: str, member: Member) -> State:
    if member.value is None:  # `done:` says all there is to say.
        return State(name)
    members = member.members(STATE)
    default = retry(members["retry"]) if "retry" in members else RETRY
    transitions = _transitions(members.get("transitions"))
    on = _on(members.get("on"))
    success, failure = (_target(members.get(word)) for word in ("on_success", "on_failure"))
    timeout = _timeout(members.get("timeout"))
    targets = (*transitions, success, failure, *on.values(), timeout.target if timeout else "")
    leads = tuple(dict.fromkeys(filter(None, targets)))
    if len(leads) > MAX_TRANSITIONS:
        said = f"leads to {len(leads)} states; at most {MAX_TRANSITIONS} are allowed"
        member.wrong(said, "split it into several states")
    return State(
        name,
        transitions=leads,
        on=on,
        actions=actions(members["on_enter"], default) if "on_enter" in members else (),
        on_success=success,
        on_failure=failure,
        guard=guard(members["validator"], default) if "validator" in members else None,
        timeout=timeout,
        terminal=_terminal(members.get("terminal")),
        compensable=members["compensable"].flag() if "compensable" in members else False,
    )


def _transitions(member: Member | None) -> list[str]:
    if member is None:
        return []
    names: list[str] = []
    for each in member.items(MAX_TRANSITIONS, "transitions"):
        name = each.name()
        if name and name in names:
            each.wrong(f"names {name} a second time", "keep one")
        names.append(name)
    return names


def _on(member: Member | None) -> dict[str, str]:
    if member is None:
        return {}
    entries = member.entries()
    if len(entries) > MAX_TRANSITIONS:
        member.wrong(
            f"has {len(entries)} events; at most {MAX_TRANSITIONS} are allowed", "use fewer"
        )
        return {}
    return _named(entries)


def _named(entries: Mapping[str, Member]) -> dict[str, str]:
    for name, each in entries.items():
        if not is_name(name):
            each.wrong(f"is not a name: {name[:64]!r}", NAME_FIX, of_key=True)
    return {name: found for name, each in entries.items() if (found := each.name())}


def _target(member: Member | None) -> str:
    return member.name() if member is not None else ""


def _timeout(member: Member | None) -> Timeout | None:
    if member is None:
        return None
    members = member.members(("after", "target"))
    for needed in ("after", "target"):
        if needed not in members and member.is_object:
            member.wrong(f"has no {needed}", "write {after: 1h, target: STATE}")
    if len(members) < 2:
        return None
    after = members["after"].duration(_SHORTEST, MAX_DURATION, MAX_DURATION)
    target = members["target"].name()
    return Timeout(after, target) if target else None


def _terminal(member: Member | None) -> Terminal | None:
    return member.choice({each.value: each for each in Terminal}) if member is not None else None


def _with_leaves(declared: Mapping[str, State]) -> dict[str, State]:
    """All states: those that only transitions name are terminal, as are those that none leaves."""
    named = [name for state in declared.values() for name in state.transitions]
    states = {name: declared.get(name, State(name)) for name in (*declared, *named)}
    return {
        name: state
        if state.transitions or state.terminal
        else replace(state, terminal=Terminal.SUCCESS)
        for name, state in states.items()
    }


def _first(declared: Mapping[str, State]) -> str:
    """The only declared state that no transition leads to; empty where there is none or more."""
    reached = {to for name, state in declared.items() for to in state.transitions if to != name}
    first = [name for name in declared if name not in reached]
    return first[0] if len(first) == 1 else ""


def _source(member: Member | None) -> Source | None:
    if member is None:
        return None
    text = member.text(512)
    if not text:
        return None
    if (found := _SOURCE.fullmatch(text)) is None or not is_name(found["alias"]):
        member.wrong(f"is no event source: {text[:64]!r}", "write kafka://ALIAS/TOPIC")
        return None
    if not _TOPIC.fullmatch(found["topic"]) or found["topic"] in {".", ".."}:
        fix = "use 1 to 249 letters, digits, dots, _ and - for the topic"
        member.wrong(f"names a topic that Kafka refuses: {found['topic'][:64]!r}", fix)
        return None
    return Source(found["alias"], found["topic"])


def _events(member: Member | None) -> dict[str, str]:
    """Their states are checked with the others."""
    return _named(member.entries()) if member is not None else {}


def _schema(member: Member | None) -> Schema | None:
    if member is None:
        return None
    try:
        Schema(member.value, field=member.path, max_bytes=MAX_SCHEMA_BYTES)
    except InvalidArgument as error:
        for each in error.violations:
            member.wrong(each.message, each.suggested_fix)
        return None
    return Schema(member.value, field="data", max_bytes=MAX_SCHEMA_BYTES)
