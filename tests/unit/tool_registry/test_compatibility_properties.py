"""What is called compatible is so: every value that the old schema accepted is accepted by the new
one. Held against jsonschema-rs, over schemas and values drawn from the same few words."""

from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from services.tool_registry.domain.compatibility import breaks_of_input, breaks_of_output

NAMES = ("a", "b", "ab")
SCALARS: list[object] = [None, True, False, 0, 1, 2, 3, 1.0, 1.5, -1, "", "a", "ab", "b", "abc"]
VALUES: list[object] = [
    *SCALARS,
    4,
    0.5,
    [],
    ["a"],
    [1],
    [1, 1],
    [1, "a"],
    ["a", 1, "b"],
    {},
    {"a": 1},
    {"a": "a"},
    {"b": "ab"},
    {"a": "ab", "b": 1},
    {"ab": 1, "c": "a"},
]
TEXT = {"type": "string"}
SAID: dict[str, list[Any]] = {
    "enum": [["a", 1], [1, 2], [True]],
    "const": ["a", 1, {"a": 1}],
    "minimum": [1, 2],
    "maximum": [1, 2],
    "exclusiveMinimum": [1, 2],
    "exclusiveMaximum": [1, 2],
    "multipleOf": [1, 2, 0.5],
    "minLength": [0, 1, 2],
    "maxLength": [1, 2],
    "pattern": ["^a", "b$"],
    "format": ["date", "ipv4"],
    "required": [["a"], ["a", "b"], []],
    "properties": [{"a": TEXT}, {"b": TEXT}, {"a": False}],
    "additionalProperties": [TEXT, False, True],
    "patternProperties": [{"^a": TEXT}, {"b$": TEXT}],
    "propertyNames": [{"maxLength": 1}, {"maxLength": 2}],
    "dependentRequired": [{"a": ["b"]}, {"b": ["a"]}],
    "dependentSchemas": [{"a": {"required": ["b"]}}],
    "minProperties": [1, 2],
    "maxProperties": [0, 1],
    "items": [TEXT, False],
    "prefixItems": [[TEXT], [{}, TEXT]],
    "contains": [TEXT, {}],
    "minItems": [1, 2],
    "maxItems": [0, 1],
    "uniqueItems": [True, False],
    "unevaluatedProperties": [False, True],
    "unevaluatedItems": [False, True],
    "not": [TEXT, {"type": ["string", "null"]}, {"minimum": 1}],
    "oneOf": [[TEXT, {"maxLength": 1}], [TEXT, {"type": "null"}]],
    "anyOf": [[TEXT, {"type": "null"}]],
    "allOf": [[TEXT]],
}
WHOLE: list[Any] = [
    *(
        {"type": each}
        for each in ("null", "boolean", "object", "array", "string", "integer", "number")
    ),
    *({name: said} for name, all_said in SAID.items() for said in all_said),
    {"type": "integer", "minimum": 1, "maximum": 2},
    {"type": "string", "maxLength": 1},
    {"type": "array", "items": TEXT, "maxItems": 1},
    {"type": "array", "prefixItems": [TEXT], "items": False},
    {"contains": TEXT, "minContains": 0},
    {"contains": TEXT, "maxContains": 1},
    {"if": TEXT, "then": {"maxLength": 1}},
    {"if": TEXT, "else": {"maximum": 1}},
    {"if": TEXT},
    {"properties": {"a": TEXT}, "additionalProperties": False},
    {"properties": {"a": TEXT}, "required": ["a"]},
    {"patternProperties": {"^a": TEXT}, "additionalProperties": False},
    {"properties": {"a": TEXT}, "unevaluatedProperties": False},
]
TYPES = ("null", "boolean", "object", "array", "string", "integer", "number")
POINTERS = ("#", "#/$defs/x", "#/$defs/y")
SMALL = st.integers(0, 3)


def values() -> st.SearchStrategy[object]:
    """JSON values."""
    return st.recursive(
        st.sampled_from(SCALARS),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*NAMES, "c")), inner)
        ),
        max_leaves=6,
    )


def keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """What each keyword may say."""
    named = st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    few = st.lists(inner, min_size=1, max_size=2)
    names = st.lists(st.sampled_from(NAMES), unique=True, max_size=2)
    return {
        "type": st.sampled_from(TYPES)
        | st.lists(st.sampled_from(TYPES), unique=True, min_size=1, max_size=3),
        "enum": st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3),
        "const": st.sampled_from(SCALARS),
        "minimum": SMALL,
        "maximum": SMALL,
        "exclusiveMinimum": SMALL,
        "exclusiveMaximum": SMALL,
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": SMALL,
        "maxLength": SMALL,
        "pattern": st.sampled_from(["^a", "b$"]),
        "properties": named,
        "required": names,
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
        "propertyNames": inner,
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=1),
        "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), inner, max_size=1),
        "minProperties": SMALL,
        "maxProperties": SMALL,
        "items": inner,
        "prefixItems": few,
        "contains": inner,
        "minContains": SMALL,
        "minItems": SMALL,
        "maxItems": SMALL,
        "uniqueItems": st.booleans(),
        "unevaluatedProperties": inner,
        "unevaluatedItems": inner,
        "allOf": few,
        "anyOf": few,
        "oneOf": few,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(POINTERS),
        "title": st.just("words"),
    }


@st.composite
def parts(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> object:
    """A schema of one to three keywords."""
    known = keywords(inner)
    chosen = draw(st.lists(st.sampled_from(sorted(known)), unique=True, min_size=1, max_size=3))
    return {name: draw(known[name]) for name in chosen}


def schemas() -> st.SearchStrategy[Any]:
    """Schemas within schemas."""
    leaves = st.booleans() | st.sampled_from([{"type": name} for name in TYPES])
    return st.recursive(leaves, parts, max_leaves=5)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A whole schema, with parts to refer to."""
    root = draw(parts(schemas()))
    assert isinstance(root, dict)
    return {**root, "$defs": {"x": draw(schemas()), "y": draw(schemas())}}


@st.composite
def changed(draw: st.DrawFn, part: Any) -> Any:
    """The schema with little of it changed: dropped, added, replaced, or wrapped."""
    if not isinstance(part, dict) or not part or draw(st.integers(0, 4)) == 0:
        wraps: list[Any] = [
            part,
            True,
            {"anyOf": [part, {"type": "null"}]},
            {"allOf": [part]},
            {"not": {"not": part}},
        ]
        return draw(st.sampled_from(wraps) | schemas())
    name = draw(st.sampled_from(sorted(part)))
    how = draw(st.sampled_from(["drop", "inside", "inside", "again", "add"]))
    if how == "drop":
        return {key: value for key, value in part.items() if key != name}
    known = keywords(schemas())
    if how == "add":
        more = draw(st.sampled_from(sorted(known)))
        return {**part, more: draw(known[more])}
    if how == "again" and name in known:
        return {**part, name: draw(known[name])}
    return {**part, name: draw(within(part[name]))}


@st.composite
def within(draw: st.DrawFn, value: Any) -> Any:
    """What a keyword says, with a schema in it changed."""
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(each, dict | bool) for each in value.values())
    ):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: draw(changed(value[name]))}
    if isinstance(value, list) and value and all(isinstance(each, dict | bool) for each in value):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(changed(value[index])), *value[index + 1 :]]
    if isinstance(value, dict | bool):
        return draw(changed(value))
    return value


def compiled(document: Any) -> Any:
    """A validator, or None for what is no schema or never ends."""
    try:
        return jsonschema_rs.Draft202012Validator(document, validate_formats=True, offline=True)
    except (ValueError, jsonschema_rs.ValidationError):
        return None


def test_no_pair_of_small_schemas_is_called_compatible_and_is_not() -> None:
    accepts = [
        frozenset(n for n, value in enumerate(VALUES) if validator.is_valid(value))
        for validator in map(compiled, WHOLE)
    ]

    wrong = [
        (WHOLE[one], WHOLE[other])
        for one in range(len(WHOLE))
        for other in range(len(WHOLE))
        if not accepts[one] <= accepts[other] and not breaks_of_input(WHOLE[one], WHOLE[other])
    ]

    assert wrong == []


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_compatible_accepts_all_that_was_accepted(data: st.DataObject) -> None:
    old = data.draw(documents(), label="old")
    new = data.draw(changed(old) | documents(), label="new")
    if not isinstance(new, dict):
        new = {"allOf": [new]}
    accepts, still_accepts = compiled(old), compiled(new)
    if accepts is None or still_accepts is None or breaks_of_input(old, new):
        event("not compatible")
        return

    event("compatible")
    for value in [*VALUES, *data.draw(st.lists(values(), min_size=3, max_size=3), label="values")]:
        assert not accepts.is_valid(value) or still_accepts.is_valid(value), (old, new, value)


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """A schema such as tools have for one field: a type, and a word or two on it."""
    kind = draw(st.sampled_from(("string", "integer", "number", "boolean", "array", "enum")))
    if kind == "enum":
        return {"enum": draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4))}
    bounds = {
        "string": ("minLength", "maxLength", "pattern"),
        "integer": ("minimum", "maximum", "exclusiveMinimum", "multipleOf"),
        "number": ("minimum", "exclusiveMaximum", "multipleOf"),
        "boolean": ("const",),
        "array": ("minItems", "maxItems", "uniqueItems", "items", "prefixItems", "contains"),
    }[kind]
    words = draw(st.lists(st.sampled_from(bounds), unique=True, max_size=2))
    said = {"const": [True], "minItems": [0, 1, 2], "minLength": [0, 1, 2]}
    types: Any = draw(st.sampled_from([kind, kind, [kind, "null"]]))
    return {"type": types} | {
        word: draw(st.sampled_from(said.get(word, SAID[word]))) for word in words
    }


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """A schema such as tools have for their input."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: draw(fields()) for name in names},
        "required": [name for name in names if draw(st.booleans())],
    }
    if draw(st.booleans()):
        made["additionalProperties"] = draw(st.sampled_from([False, False, True, TEXT]))
    return made


@st.composite
def revised(draw: st.DrawFn, old: dict[str, Any]) -> dict[str, Any]:
    """The schema as somebody may have revised it."""
    new = {**old, "properties": dict(old["properties"])}
    how = draw(
        st.sampled_from(
            ["add", "change", "word", "word", "word", "loosen", "require", "open", "close", "drop"]
        )
    )
    name = draw(st.sampled_from(sorted(new["properties"]) or ["a"]))
    field = new["properties"].get(name, {})
    if how == "add":
        new["properties"].setdefault(draw(st.sampled_from(NAMES)), draw(fields()))
    elif how == "change":
        new["properties"][name] = draw(changed(field))
    elif how == "word":
        word = draw(st.sampled_from(sorted(set(field) & set(SAID)) or sorted(SAID)))
        new["properties"][name] = {**field, word: draw(st.sampled_from(SAID[word]))}
    elif how == "loosen" and field:
        gone = draw(st.sampled_from(sorted(field)))
        new["properties"][name] = {key: said for key, said in field.items() if key != gone}
    elif how == "require":
        new["required"] = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    elif how == "drop":
        new["properties"].pop(name, None)
    else:
        new["additionalProperties"] = how == "open"
    return new


ABSENT = object()
FIELD_VALUES = [ABSENT, *SCALARS, [], ["a"], [1], [1, 1], ["a", 1], {}]
OBJECTS = [
    {name: value for name, value in (("a", a), ("b", b), ("ab", ab)) if value is not ABSENT}
    for a in FIELD_VALUES
    for b in FIELD_VALUES
    for ab in (ABSENT, "a", 1)
]


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_revised_input_that_is_compatible_takes_every_object_it_took(
    data: st.DataObject,
) -> None:
    old = data.draw(inputs(), label="old")
    new = data.draw(revised(old), label="new")
    accepts, still_accepts = compiled(old), compiled(new)
    if accepts is None or still_accepts is None or breaks_of_input(old, new):
        event("not compatible")
        return

    event("compatible, and the same" if old == new else "compatible")
    assert [
        each for each in OBJECTS if accepts.is_valid(each) and not still_accepts.is_valid(each)
    ] == []


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents())
def test_words_alone_never_break_anybody(document: dict[str, Any]) -> None:
    worded = {**document, "title": "new", "description": "new", "examples": [1], "default": 3}

    assert breaks_of_input(document, worded) == []
    assert breaks_of_output(document, worded) == []


@settings(max_examples=30, deadline=None)
@given(documents(), documents())
@example({}, {"type": "object"})
def test_output_is_input_the_other_way_round(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert breaks_of_output(one, other) == breaks_of_input(other, one)
