"""CEL and templates: what they give, what they refuse, and what they may cost."""

from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import FailedPrecondition
from services.workflow.domain.cel_costs import ExpressionError
from services.workflow.domain.expressions import (
    GUARDING,
    UNDOING,
    VARIABLES,
    compiled,
    fault,
    filled,
    written,
)

DATA = {
    "n": 5,
    "half": 2.5,
    "name": "Ann",
    "items": [{"price": 1.5, "count": 2}, {"price": 2.0, "count": 1}],
    "tags": ["a", "b"],
    "nothing": None,
}
SEEN = {"data": DATA, "workflow": {"id": "wf_1"}, "payload": {"ok": True}, "target": "done"}


def value(text: str, seen: Any = None) -> object:
    return compiled(text, GUARDING).value(seen or SEEN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.n + 1", 6),
        ("data.n > 4.5", True),
        ("data.n == 5.0", True),
        ("data.n / 2", 2),
        ("double(data.n) * data.half", 12.5),
        ("data.nothing == null", True),
        ("has(data.missing) || data.n == 5", True),
        ("size('日本')", 2),
        ("string(true) + data.name", "trueAnn"),
        ("data.items.all(i, i.price > 1.0)", True),
        ("data.items.map(i, i.count)", [2, 1]),
        ("data.tags.filter(t, t != 'a')", ["b"]),
        ("'b' in data.tags", True),
        ("data.name.matches('^A.n$')", True),
        ("target == 'done' && payload.ok", True),
        ("{'z': 1, 'a': [data.n]}", {"a": [5], "z": 1}),
        ("data", DATA),
        ("timestamp('2026-01-02T03:04:05Z') + duration('1h')", "2026-01-02T04:04:05Z"),
        ("duration('90m')", "5400s"),
        ("true || 1 / 0 > 1", True),
    ],
)
def test_expressions_give_json(text: str, expected: object) -> None:
    found = value(text)

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "text",
    [
        "data.missing",
        "data.n.more",
        "data.name + data.n",
        "data.tags[7]",
        "1 / 0",
        "9223372036854775807 + data.n",
        "9007199254740993",
        "1.0 / 0.0",
        "b'bytes'",
        "type(1)",
        "{1: 2}",
        "data.name.matches('(')",
        "data.name.matches('((x{1000}){1000}){1000}')",
        "int('x')",
    ],
)
def test_what_has_no_value_fails_with_a_reason(text: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        value(text)

    assert caught.value.reason == "EXPRESSION_FAILED"
    assert caught.value.metadata["expression"] == text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1 +", (1, 4)),
        ("data.n &&\n  foo", (2, 3)),
        ("data.n == 1 && nope(1)", (1, 20)),
        ("output", (1, 1)),
        ("1 == 'a'", (1, 3)),
        ("", (1, 1)),
        ("data.\x00", (1, 6)),
        ("data.x.all(a, data.x.all(b, data.x.all(c, true)))", (1, 36)),
    ],
)
def test_what_is_no_expression_says_where(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(ExpressionError) as caught:
        compiled(text, GUARDING)

    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_049,
        "(" * 900 + "1" + ")" * 900,
        "[" * 900 + "1" + "]" * 900,
        "1" + "+1" * 700,
        "data" + ".a" * 900,
        "data.x" + ".map(a, a)" * 9,
        "'" * 2_000,
    ],
)
def test_long_and_deep_expressions_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compiled(text, VARIABLES)


@pytest.mark.parametrize(
    "text",
    [
        "[data.text]" + ".map(a, a + a)" * 8,
        "[data.list]" + ".map(a, [a, a, a, a, a, a, a, a])" * 8 + "[0] == data.list",
        "data.list.map(x, x)",
        "data.list.all(x, data == data)",
        "data.list.all(x, [data] in [data])",
        "data.list.map(x, data.list)",
        "data.list.all(x, data.list.all(y, x + y >= 0))",
        "data.list.all(x, data.text.matches('(a|b)*' + string(x)))",
        "[1,2,3,4,5,6,7,8,9,10].map(x, data)",
    ],
)
def test_what_would_take_long_or_fill_the_memory_fails(text: str) -> None:
    seen = {
        "data": {"list": list(range(4_000)), "more": [0] * 4_000, "text": "x" * 100_000},
        "workflow": {},
    }

    with pytest.raises(FailedPrecondition) as caught:
        compiled(text, VARIABLES).value(seen)

    assert caught.value.reason == "EXPRESSION_FAILED"


def test_literals_that_look_like_loops_are_texts() -> None:
    text = "'.map(.map(.map(' + \".all(.all(.all(\" + r'\\.filter(' // .map( .map( .map("

    assert value(text) == ".map(.map(.map(.all(.all(.all(\\.filter("


@pytest.mark.parametrize("text", ["admin\0x", "\ud800"])
def test_texts_that_cel_would_not_see_as_they_are_fail(text: str) -> None:
    with pytest.raises(FailedPrecondition):
        value("data.who == 'admin'", {"data": {"deep": [{"who": text}], "who": "admin"}})


def test_a_template_keeps_types_where_an_expression_stands_alone() -> None:
    template = {
        "all": "${data.tags}",
        "one": ["${data.n}"],
        "said": "${data.name}: ${data.n}",
        "k": 1,
    }

    found = filled(template, SEEN)

    assert found == {"all": ["a", "b"], "one": [5], "said": "Ann: 5", "k": 1}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain $ text", "plain $ text"),
        ("$${data.n}", "${data.n}"),
        ("${'}'}", "}"),
        ("${{'a': {'b': data.n}}}", {"a": {"b": 5}}),
        ("see ${data.tags}", 'see ["a","b"]'),
        ("${data.nothing}", None),
        ("is ${data.nothing}", "is null"),
        ("${data.name}${data.n}", "Ann5"),
        ("", ""),
    ],
)
def test_templates(template: str, expected: object) -> None:
    assert filled(template, SEEN) == expected


@pytest.mark.parametrize("template", ["${data.missing}", "a ${", "${}", "${data.n", "${output}"])
def test_a_template_that_cannot_be_filled_fails_with_a_reason(template: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        filled({"a": template}, SEEN)

    assert caught.value.reason == "EXPRESSION_FAILED"


def test_a_template_does_not_grow_without_end() -> None:
    seen = {"data": "x" * 200_000, "workflow": {}}

    with pytest.raises(FailedPrecondition):
        filled(["${data}"] * 10, seen)


def test_the_expressions_of_a_template_are_found_with_their_paths() -> None:
    found = written({"a": ["${data.x} ${y}"], "b": {"c": "${data.z"}}, "input")

    assert found == [
        ("input.a[0]", "data.x"),
        ("input.a[0]", "y"),
        ("input.b.c", "${data.z"),
    ]
    assert [fault(text, VARIABLES) is None for _, text in found] == [True, False, False]


def test_only_a_compensation_sees_the_output() -> None:
    assert fault("output.id", UNDOING) is None
    assert fault("output.id", VARIABLES) is not None
    assert fault("payload.id", VARIABLES) is not None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(), JSON)
def test_any_template_over_any_data_is_filled_or_fails_with_a_reason(
    text: str, data: object
) -> None:
    try:
        filled({"a": text, "b": "${" + text, "c": "${data}"}, {"data": data, "workflow": {}})
    except FailedPrecondition as error:
        assert error.reason == "EXPRESSION_FAILED"  # noqa: PT017


@given(st.text("data.xyz()[]{}'\"+*/!&|?:,<>= 1\\nr", max_size=60))
def test_any_expression_compiles_or_is_refused(text: str) -> None:
    try:
        compiled(text, VARIABLES)
    except ExpressionError as error:
        assert error.line > 0  # noqa: PT017
        assert error.column > 0  # noqa: PT017


@given(JSON)
def test_json_comes_out_of_an_expression_as_it_went_in(data: object) -> None:
    try:
        found = filled("${data}", {"data": data, "workflow": {}})
    except FailedPrecondition as error:
        assert "\\u0000" in repr(data).replace("\\x00", "\\u0000") or "finite" in error.message  # noqa: PT017
    else:
        assert found == data


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("data.n == {}", {"n": 1, "l": [1] * 90_000}),
        ("size(data.m) + {}", {"m": dict.fromkeys(map(str, range(20_000)), 1)}),
        (" && ".join(["data.l == data.k"] * 30) + " && {} > 0", {"l": [1] * 45_000, "k": [1]}),
        ("(" + "+".join(["data.s"] * 28) + ").size() == {}", {"s": "x" * 250_000}),
        ("data.l.all(x, x > 0 - {})", {"l": list(range(4_300))}),
        ("data.l.filter(x, x > {}).size() == 1 ? [1] : data.l", {"l": [1] * 900}),
    ],
)
def test_a_thousand_expressions_of_a_template_take_no_long_time(
    expression: str, data: dict[str, object]
) -> None:
    template = {f"k{n}": f"${{{expression.format(n)}}}" for n in range(1_000)}
    began = process_time()

    with pytest.raises(FailedPrecondition, match="together with those before it"):
        filled(template, {"data": data, "workflow": {}})

    assert process_time() - began < 3  # Some took a minute.


def test_a_hundred_expressions_over_common_data_are_no_much_work() -> None:
    data = {"order": {f"item{n}": {"price": n, "name": "x" * 100} for n in range(200)}}
    template = {f"k{n}": f"${{data.order.item{n}.price * 2}}" for n in range(100)}

    assert filled(template, {"data": data, "workflow": {}})["k99"] == 198
