"""Documents as definitions: what each part becomes, and every problem at once."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.documents.problem import Problem
from services.chassis.errors import InvalidArgument
from services.workflow.domain.definition import (
    Definition,
    Kind,
    Source,
    Terminal,
    Timeout,
    Validator,
)
from services.workflow.domain.language import made, outcome

EXAMPLES = Path(__file__).parents[3] / "examples" / "workflows"
PROCESSING = """\
name: document_processing
state_machine:
  draft:   {transitions: [review, publish]}
  review:  {transitions: [approved, rejected], validator: approver}
  publish: {transitions: [indexed]}
event_source: kafka://events/document-events
"""


def parsed(text: str) -> Definition:
    found = outcome(text)
    assert found.definition is not None, found.problems
    return found.definition


def of_state(state: str) -> Definition:
    return parsed(f"name: x\ninitial: a\nstate_machine:\n  a: {state}\n")


def problems(text: str) -> list[tuple[int, int, str]]:
    return [(each.line, each.column, each.field) for each in outcome(text).problems]


def problem_of(state: str) -> Problem:
    found = outcome(f"name: x\ninitial: a\nstate_machine:\n  a: {state}\n").problems
    assert len(found) == 1, found
    return found[0]


def test_the_definition_of_the_readme_loads_as_it_stands() -> None:
    found = parsed(PROCESSING)

    ends = {name: state.terminal for name, state in found.states.items() if state.terminal}
    assert (found.initial, found.source) == ("draft", Source("events", "document-events"))
    assert ends == dict.fromkeys(["approved", "rejected", "indexed"], Terminal.SUCCESS)
    assert found.states["review"].transitions == ("approved", "rejected")
    assert found.states["review"].guard is not None
    assert found.event_type("publish") == "document_processing_publish"


def schema_of(definition: Definition) -> object:
    """The document of its schema."""
    return definition.schema and definition.schema.document


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_have_no_problem_and_parse_to_themselves_again(path: Path) -> None:
    found = outcome(path.read_bytes())

    assert found.problems == ()
    assert found.definition is not None
    again = outcome(found.definition.document).definition
    assert again is not None
    assert replace(again, schema=None) == replace(found.definition, schema=None)
    assert schema_of(again) == schema_of(found.definition)
    assert found.definition.name == path.stem


def test_the_example_is_what_the_readme_shows() -> None:
    assert (EXAMPLES / "document_processing.yaml").read_text() == PROCESSING


def test_states_may_have_names_that_yaml_takes_for_something_else() -> None:
    text = "name: x\nstate_machine:\n  on: {transitions: [no, true, 7], on: {yes: no}}\n  7: {}\n"

    found = parsed(text)

    assert list(found.states) == ["on", "7", "no", "true"]
    assert found.states["on"].transitions == ("no", "true", "7")
    assert found.states["on"].on == {"yes": "no"}
    assert outcome(found.document).definition == found


def test_every_way_out_counts_as_a_transition() -> None:
    state = of_state(
        "{transitions: [b], on: {go: c}, on_success: d, on_failure: e, on_enter: [{tool: t}],"
        " timeout: {after: 1h, target: f}}\n  e: {terminal: failure}\n  f: {}"
    ).states["a"]

    assert state.transitions == ("b", "d", "e", "c", "f")
    assert (state.on, state.on_success, state.on_failure) == ({"go": "c"}, "d", "e")
    assert state.timeout == Timeout(timedelta(hours=1), "f")


def test_actions_say_what_they_do() -> None:
    actions = (
        of_state("""
    on_enter:
      - {tool: t, version: ^1.2, input: {q: "${data.q}"}, save_as: r, timeout: 5s}
      - {tool: t, name: mine, compensation: {tool: undo, input: {id: "${output.id}"}}}
      - {tool: t}
      - {agent: g, query: "What is ${data.q}?", response_schema: {type: object}}
      - {workflow: w, version: 3, data: {a: 1}}
      - {event: e, payload: {b: 2}}
    retry: {attempts: 5, initial: 100ms, factor: 3, max: 2s}
""")
        .states["a"]
        .actions
    )

    assert [each.kind for each in actions] == [
        *[Kind.TOOL] * 3,
        Kind.AGENT,
        Kind.WORKFLOW,
        Kind.EVENT,
    ]
    assert [each.name for each in actions] == ["t", "mine", "t_2", "g", "w", "e"]
    assert (actions[0].version, actions[0].save_as) == ("^1.2", "r")
    assert (actions[0].timeout, actions[0].retry.attempts) == (timedelta(seconds=5), 5)
    assert actions[1].compensation is not None
    assert actions[1].compensation.input == {"id": "${output.id}"}
    assert actions[3].input == {
        "query": "What is ${data.q}?",
        "response_schema": {"type": "object"},
    }
    assert (actions[4].version, actions[4].input) == ("3", {"a": 1})
    assert actions[5].input == {"b": 2}


@pytest.mark.parametrize(
    ("written", "validator"),
    [
        ("approver", Validator.APPROVER),
        ("{cel: 'data.ok && payload.by != null'}", Validator.CEL),
        ("{tool: check, input: {to: '${target}', p: '${payload}'}}", Validator.TOOL),
        ("{agent: judge, query: 'May it go to ${target}?'}", Validator.AGENT),
    ],
)
def test_validators(written: str, validator: Validator) -> None:
    guard = of_state(f"{{transitions: [b], validator: {written}}}").states["a"].guard

    assert guard is not None
    assert guard.validator is validator
    assert (guard.action is not None) == (validator in {Validator.TOOL, Validator.AGENT})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("1.5m", 90.0),
        ("2d", 172_800.0),
        ("P2D", 172_800.0),
        ("PT1H30M", 5_400.0),
        ("P1DT0.5S", 86_400.5),
    ],
)
def test_time_spans(written: str, seconds: float) -> None:
    state = of_state(f"{{transitions: [b], timeout: {{after: {written}, target: b}}}}\n  b: {{}}")

    found = state.states["a"].timeout
    assert found is not None
    assert found.after == timedelta(seconds=seconds)


def test_a_workflow_is_no_compensation() -> None:
    problem = problem_of("{transitions: [b], on_enter: [{tool: t, compensation: {workflow: w}}]}")

    assert problem.field == "state_machine.a.on_enter[0].compensation.workflow"


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ("{transition: [b], transitions: [b]}", "transition"),
        ("{transitions: b}", "transitions"),
        ("{transitions: [b, b]}", "transitions[1]"),
        ("{transitions: [b c]}", "transitions[0]"),
        ("{transitions: [~]}", "transitions[0]"),
        ("{transitions: [b], on: {'a b': b}}", "on.a b"),
        ("{transitions: [b], timeout: {after: soon, target: b}}\n  b: {}", "timeout.after"),
        ("{transitions: [b], timeout: {after: 401d, target: b}}\n  b: {}", "timeout.after"),
        ("{transitions: [b], timeout: {after: PT, target: b}}\n  b: {}", "timeout.after"),
        ("{transitions: [b], timeout: {after: 1h}}", "timeout"),
        ("{transitions: [b], timeout: 1h}", "timeout"),
        ("{terminal: yes}", "terminal"),
        ("{compensable: 1}", "compensable"),
        ("{transitions: [b], retry: {attempts: 11}}", "retry.attempts"),
        ("{transitions: [b], retry: {attempts: true}}", "retry.attempts"),
        ("{transitions: [b], retry: {factor: 0}}", "retry.factor"),
        ("{transitions: [b], retry: {initial: 10s, max: 1s}}", "retry"),
        ("{on_enter: {tool: t}}", "on_enter"),
        ("{on_enter: [t]}", "on_enter[0]"),
        ("{on_enter: [{name: t}]}", "on_enter[0]"),
        ("{on_enter: [{tool: t, agent: g}]}", "on_enter[0]"),
        ("{on_enter: [{tool: t, query: q}]}", "on_enter[0].query"),
        ("{on_enter: [{tool: t.u}]}", "on_enter[0].tool"),
        ("{on_enter: [{tool: t, name: n}, {tool: u, name: n}]}", "on_enter[1].name"),
        ("{on_enter: [{tool: t, input: [1]}]}", "on_enter[0].input"),
        ("{on_enter: [{tool: t, input: {a: [1, '${x}']}}]}", "on_enter[0].input.a[1]"),
        ("{on_enter: [{tool: t, input: {a: 'b ${data.'}}]}", "on_enter[0].input.a"),
        ("{on_enter: [{tool: t, input: {a: '${output}'}}]}", "on_enter[0].input.a"),
        ("{on_enter: [{agent: g, response_schema: {type: 7}}]}", "on_enter[0].response_schema"),
        (
            "{on_enter: [{tool: t, compensation: {tool: u, compensation: {tool: v}}}]}",
            "on_enter[0].compensation.compensation",
        ),
        ("{on_enter: [{tool: t, timeout: 0s}]}", "on_enter[0].timeout"),
        ("{on_enter: [{agent: t, timeout: 301s}]}", "on_enter[0].timeout"),
        ("{on_enter: [{workflow: t, timeout: 1h}]}", "on_enter[0].timeout"),
        ("{on_enter: [{workflow: t, version: ^1}]}", "on_enter[0].version"),
        ("{on_enter: [{workflow: t, version: 0}]}", "on_enter[0].version"),
        ("{on_enter: [{workflow: t, version: 9999999999}]}", "on_enter[0].version"),
        ("{on_enter: [{event: t, timeout: 1h}]}", "on_enter[0].timeout"),
        ("{transitions: [b], validator: nobody}", "validator"),
        ("{transitions: [b], validator: {cel: x, tool: t}}", "validator"),
        ("{transitions: [b], validator: {cel: 'data.'}}", "validator.cel"),
        ("{transitions: [b], validator: {cel: 5}}", "validator.cel"),
        ("{transitions: [b], validator: {tool: t, save_as: x}}", "validator.save_as"),
    ],
)
def test_what_is_wrong_with_a_state_is_said_with_its_place_and_a_fix(
    state: str, field: str
) -> None:
    problem = problem_of(state)

    assert problem.field == f"state_machine.a.{field}"
    assert problem.line == 4
    assert problem.column > 5
    assert problem.suggested_fix


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("nmae: y", "nmae"),
        ("name: a b", "name"),
        ("description: 5", "description"),
        ("initial: z", "initial"),
        ("event_source: http://x", "event_source"),
        ("event_source: kafka://events", "event_source"),
        ("event_source: kafka://events/a b", "event_source"),
        ("event_source: kafka://events/..", "event_source"),
        (f"event_source: kafka://events/{'a' * 250}", "event_source"),
        ("events: {z: e}", "events.z"),
        ("schema: {type: 7}", "schema"),
        ("schema: [1]", "schema"),
    ],
)
def test_what_is_wrong_with_the_whole_is_said(line: str, field: str) -> None:
    rest = "" if line.startswith("name") else "name: x\n"

    found = problems(f"{rest}state_machine:\n  a: {{transitions: [b]}}\n{line}\n")

    assert [each for _, _, each in found] == [field]


def test_all_problems_are_said_at_once_in_the_order_of_the_text() -> None:
    found = problems(
        "name: a b\ninitail: a\nstate_machine:\n"
        "  a: {transitions: [b], validator: {cel: 'data +'}}\n"
        "  b: {on_success: b}\nevent_source: nowhere\n"
    )

    assert found == [
        (1, 7, "name"),
        (2, 1, "initail"),
        (4, 49, "state_machine.a.validator.cel"),
        (5, 3, "state_machine.b"),
        (5, 3, "state_machine.b"),
        (6, 15, "event_source"),
    ]


def test_an_expression_of_many_lines_says_which() -> None:
    found = problems(
        "name: x\nstate_machine:\n  a:\n    transitions: [b]\n    validator:\n      cel: |\n"
        "        data.ok &&\n          nope\n"
    )

    assert found == [(8, 11, "state_machine.a.validator.cel")]


@pytest.mark.parametrize("document", ["[]", "5", "~", "name: x", "state_machine: {}", "a: b"])
def test_what_is_no_definition_is_said(document: str) -> None:
    found = outcome(document)

    assert found.definition is None
    assert found.errors


def test_bounds_hold() -> None:
    leaves = ", ".join(f"s{n}" for n in range(51))
    states = "".join(f"  s{n}: {{transitions: [s{n + 1}]}}\n" for n in range(101))
    many = ", ".join(["{tool: t}"] * 21)
    long = "x" * 70_000
    texts = ", ".join(["'${data.a}'"] * 1_001)

    assert problem_of(f"{{transitions: [{leaves}]}}").field == "state_machine.a.transitions"
    assert problems(f"name: x\nstate_machine:\n{states}") == [(3, 3, "state_machine")]
    assert problem_of(f"{{on_enter: [{many}]}}").field == "state_machine.a.on_enter"
    for each in (f"'{long}'", f"[{texts}]"):
        state = f"{{on_enter: [{{tool: t, input: {{a: {each}}}}}]}}"
        assert problem_of(state).field == "state_machine.a.on_enter[0].input"


def test_a_request_is_refused_with_a_violation_for_each_error() -> None:
    with pytest.raises(InvalidArgument) as caught:
        made({"name": "a b", "state_machine": {"a": {"transitions": [5]}}}, field="definition")

    assert caught.value.reason == "DEFINITION_INVALID"
    assert {each.field for each in caught.value.violations} == {
        "definition.name",
        "definition.state_machine.a.transitions[0]",
    }


VOCABULARY = """
    a b name initial transitions on on_enter on_success on_failure validator timeout after target
    retry attempts terminal compensable tool agent workflow event input query cel save_as
    compensation success failure approver 1h ${data.a} ${ kafka://a/b schema type events
"""
WORDS = st.sampled_from(VOCABULARY.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner),
    max_leaves=25,
)
ACTIONS = st.fixed_dictionaries(
    {"tool": st.sampled_from(["on", "t", "7"])},
    optional={
        "input": st.dictionaries(st.text(max_size=3), st.just("${data.a}") | st.integers(0, 9)),
        "timeout": st.sampled_from(["1h", "PT1M", 5]),
        "compensation": st.just({"tool": "undo", "input": {"o": "${output}"}}),
    },
)


@st.composite
def sound_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents without a fault: every state leads to later ones, the next one among them."""
    names = draw(
        st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True), min_size=2, unique=True)
    )
    states: dict[str, Any] = {}
    for index, name in enumerate(names[:-1]):
        later = draw(st.lists(st.sampled_from(names[index + 1 :]), unique=True, max_size=3))
        targets = list(dict.fromkeys([names[index + 1], *later]))
        states[name] = {"transitions": targets, "on": {f"to_{to}"[:64]: to for to in later}}
        if actions := draw(st.lists(ACTIONS, max_size=2)):
            states[name] |= {"on_enter": actions, "on_success": targets[0]}
        elif draw(st.booleans()):
            states[name]["validator"] = "approver"
    return {"name": draw(st.sampled_from(["x", "on", "1"])), "state_machine": states}


@given(JSON | st.fixed_dictionaries({"name": WORDS, "state_machine": JSON}))
def test_any_json_becomes_a_definition_or_problems(value: Any) -> None:
    found = outcome(value if isinstance(value, dict) else {"state_machine": value})

    assert (found.definition is None) == bool(found.errors)


@settings(max_examples=50)
@given(sound_documents())
def test_the_document_of_a_definition_is_that_definition_again(value: dict[str, Any]) -> None:
    first = outcome(value)
    again = outcome(json.dumps(value))

    assert not first.errors
    assert first.definition is not None
    assert outcome(first.definition.document).definition == first.definition == again.definition
