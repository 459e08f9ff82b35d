"""Whether a definition's states make sense together. Each check sees the whole definition and says
everything that is wrong; `parsing` has seen to it that the parts are well-formed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from services.chassis.documents.problem import Problem
from services.workflow.domain.definition import Action, Definition, Kind, State, Terminal, Validator

_STATES: Final = "state_machine"
_COMPARED: Final = 16


def problems(definition: Definition) -> list[Problem]:
    """Everything that is wrong with it, by check; warnings among it."""
    return [problem for check in CHECKS for problem in check(definition)]


def _initial(definition: Definition) -> Iterator[Problem]:
    if not definition.initial:
        fix = "add initial: STATE"
        yield Problem("", "has no single state that no transition leads to", fix)
    elif definition.initial not in definition.states:
        fix = f"use one of {_some(definition.states)}"
        yield Problem("initial", f"names no state: {definition.initial}", fix)


def _reachable(definition: Definition) -> Iterator[Problem]:
    if definition.initial not in definition.states:
        return
    reached = _from([definition.initial], _edges(definition))
    for name in _declared_in(definition):
        if name not in reached:
            fix = "lead a transition to it, or leave it out"
            yield Problem(_at(name), f"is not reached from {definition.initial}", fix)


def _exits(definition: Definition) -> Iterator[Problem]:
    """Circles that nothing leaves: from each of their states, no terminal state is reached."""
    edges = _edges(definition)
    back: dict[str, list[str]] = {name: [] for name in edges}
    for name, targets in edges.items():
        for target in targets:
            back[target].append(name)
    ending = _from((name for name, to in edges.items() if not to), back)
    for circle in _circles(edges):
        if not ending.intersection(circle):
            shown = " → ".join((*circle, circle[0]))
            fix = "lead a transition from one of them to a state that ends the workflow"
            yield Problem(_at(circle[0]), f"never ends: {shown}", fix)


def _waits(definition: Definition) -> Iterator[Problem]:
    """Circles that run for ever by themselves: nobody signals, no timer waits."""
    edges = {
        name: [to for to in dict.fromkeys((state.on_success, state.on_failure)) if to]
        for name, state in definition.states.items()
    }
    for circle in _circles(edges):
        shown = " → ".join((*circle, circle[0]))
        fix = "leave one of them by a signal, an approval or a timeout instead"
        yield Problem(_at(circle[0]), f"goes round without ever waiting: {shown}", fix)


def _terminals(definition: Definition) -> Iterator[Problem]:
    for name, state in definition.states.items():
        if state.terminal is None:
            continue
        if state.transitions:
            said = f"is terminal and leads on to {', '.join(state.transitions)[:200]}"
            yield Problem(f"{_at(name)}.terminal", said, "leave out terminal, or what leads on")
        if state.guard is not None:
            fix = "leave out validator"
            yield Problem(f"{_at(name)}.validator", "guards a state that nothing leaves", fix)
        if state.terminal is Terminal.FAILURE and state.actions:
            fix = "do it in the state before, or as a compensation"
            said = "stand in a terminal failure, where all is undone"
            yield Problem(f"{_at(name)}.on_enter", said, fix, is_warning=True)


def _approvals(definition: Definition) -> Iterator[Problem]:
    for name, state in definition.states.items():
        if state.guard is None or state.guard.validator is not Validator.APPROVER:
            continue
        if state.on_success:
            said = "leaves a state that only a person may leave"
            fix = "leave out on_success, or the validator"
            yield Problem(f"{_at(name)}.on_success", said, fix)


def _successes(definition: Definition) -> Iterator[Problem]:
    """A way out that actions lead to, where there are none: the instance goes on at once."""
    for name, state in definition.states.items():
        if state.on_failure and not state.actions:
            fix = "add on_enter, or leave it out"
            where = f"{_at(name)}.on_failure"
            yield Problem(where, "is where failed actions lead, and there are none", fix)


def _compensations(definition: Definition) -> Iterator[Problem]:
    for name, state in definition.states.items():
        for number, action in enumerate(state.actions):
            where = f"{_at(name)}.on_enter[{number}]"
            if action.kind is Kind.EVENT and action.compensation is not None:
                said = "undoes an event, which others may have seen already"
                fix = "make sure that they understand the event that takes it back"
                yield Problem(f"{where}.compensation", said, fix, is_warning=True)
            elif (
                state.compensable and action.compensation is None and action.kind is not Kind.EVENT
            ):
                fix = "add compensation: {tool: NAME}, or leave out compensable"
                yield Problem(where, f"has no compensation, and {name} is compensable", fix)
        if state.compensable and not state.actions:
            fix = "leave it out"
            where = f"{_at(name)}.compensable"
            yield Problem(where, "is true, and there are no actions", fix, is_warning=True)


def _declared(definition: Definition) -> Iterator[Problem]:
    """States that are only named end as a success, which is not what a failure leads to; and some
    are only misspelt."""
    known = _declared_in(definition)
    meant = _misspelt(definition, known)
    for name, state in definition.states.items():
        late = state.timeout.target if state.timeout else ""
        for word, target in (("on_failure", state.on_failure), ("timeout.target", late)):
            if target and target not in known:
                fix = f"declare it, such as {target}: {{terminal: failure}}"
                yield Problem(f"{_at(name)}.{word}", f"names no state: {target}", fix)
        for target in state.transitions:
            if target in meant:
                said = f"leads to {target}, which is not declared and ends the workflow"
                fix = f"did you mean {meant[target]}?"
                yield Problem(_at(name), said, fix, is_warning=True)


def _saved(definition: Definition) -> Iterator[Problem]:
    """Two actions of a state whose outputs become the same member."""
    for name, state in definition.states.items():
        kept: dict[str, str] = {}
        for number, action in enumerate(state.actions):
            if action.save_as and action.save_as in kept:
                where = f"{_at(name)}.on_enter[{number}].save_as"
                said = f"replaces what {kept[action.save_as]} saved"
                yield Problem(where, said, "use another name", is_warning=True)
            kept[action.save_as] = action.name


def _itself(definition: Definition) -> Iterator[Problem]:
    """A workflow that starts itself before it waits for anything starts without end."""
    if definition.initial not in definition.states:
        return
    automatic = {name: _automatic(state) for name, state in definition.states.items()}
    for name in _from([definition.initial], automatic):
        for where, action in _started(name, definition.states[name]):
            if action.kind is Kind.WORKFLOW and action.target == definition.name:
                said = f"starts {definition.name} itself before anything is waited for"
                yield Problem(where, said, "wait for a signal or a timeout before it")


def _automatic(state: State) -> list[str]:
    return [to for to in (state.on_success, state.on_failure) if to]


def _started(name: str, state: State) -> Iterator[tuple[str, Action]]:
    for number, action in enumerate(state.actions):
        yield f"{_at(name)}.on_enter[{number}].workflow", action


def _events(definition: Definition) -> Iterator[Problem]:
    for name in definition.events:
        if name not in definition.states:
            fix = f"use one of {_some(definition.states)}"
            yield Problem(f"events.{name}", f"names no state: {name}", fix)


CHECKS: Final[tuple[Callable[[Definition], Iterable[Problem]], ...]] = (
    _initial,
    _events,
    _terminals,
    _approvals,
    _successes,
    _compensations,
    _declared,
    _saved,
    _itself,
    _reachable,
    _exits,
    _waits,
)


def _misspelt(definition: Definition, known: list[str]) -> dict[str, str]:
    """States that only transitions name, and those that are meant by them. Comparing long names
    takes long, so not all are looked at: whoever leaves so many undeclared means to."""
    undeclared = [name for name in definition.states if name not in known]
    found = {name: _meant(name, known) for name in undeclared[:_COMPARED]}
    return {name: meant for name, meant in found.items() if meant}


def _meant(target: str, known: list[str]) -> str:
    """The state that is meant, if the name looks like a slip: not `s99` for `s9`, which count,
    nor `approved` for `approve`."""
    close = next(iter(get_close_matches(target, known, 1, cutoff=0.8)), "")
    is_counted = target.rstrip("0123456789") == close.rstrip("0123456789")
    is_form = target.startswith(close) or close.startswith(target)
    return "" if is_counted or is_form else close


def _declared_in(definition: Definition) -> list[str]:
    declared = definition.document.get(_STATES)
    return list(declared) if isinstance(declared, Mapping) else list(definition.states)


def _at(state: str) -> str:
    return f"{_STATES}.{state}"


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:8]) + (", …" if len(known) > 8 else "")


def _edges(definition: Definition) -> dict[str, list[str]]:
    return {
        name: [to for to in state.transitions if to in definition.states]
        for name, state in definition.states.items()
    }


def _from(starts: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """All that is reached from these, themselves included."""
    pending = set(starts)
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        reached.add(name)
        pending |= set(edges[name]) - reached
    return reached


def _circles(edges: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """States that reach themselves, each set of those that reach one another once; in the order
    in which they stand."""
    reach = {name: _from(targets, edges) for name, targets in edges.items()}
    seen: set[str] = set()
    for name in edges:
        if name in reach[name] and name not in seen:
            circle = [each for each in edges if each in reach[name] and name in reach[each]]
            seen.update(circle)
            yield circle
