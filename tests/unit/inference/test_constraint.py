"""What binds an output, other than a schema, as it is checked."""

from dataclasses import replace

import pytest

from services.inference.domain.constraint import FREE, Constraint, faults
from services.inference.domain.model import Capability, Model

ABLE = Model("m", "1", "e", 1_000, 100, 1, frozenset({Capability.CONSTRAINT}))


def test_nothing_is_wrong_with_free_text() -> None:
    unable = replace(ABLE, capabilities=frozenset())

    assert list(faults(FREE, unable, others=("prefix",))) == []


@pytest.mark.parametrize(
    "constraint", [Constraint(choice=("a", "b")), Constraint(regex="a"), Constraint(grammar="a")]
)
def test_one_alone_is_taken(constraint: Constraint) -> None:
    assert list(faults(constraint, ABLE, others=())) == []


@pytest.mark.parametrize(
    ("constraint", "others", "field"),
    [
        (Constraint(choice=("a",), regex="a"), (), "choice"),
        (Constraint(regex="a"), ("response_schema",), "regex"),
        (Constraint(choice=("a", "")), (), "choice[1]"),
        (Constraint(choice=("a" * 1_025,)), (), "choice[0]"),
        (Constraint(choice=("a",) * 1_001), (), "choice"),
        (Constraint(regex="a" * 4_097), (), "regex"),
        (Constraint(grammar="ä" * 40_000), (), "grammar"),
    ],
)
def test_what_is_wrong_is_named(
    constraint: Constraint, others: tuple[str, ...], field: str
) -> None:
    found = list(faults(constraint, ABLE, others=others))

    assert [each.field for each in found] == [field]
    assert found[0].suggested_fix


def test_a_model_that_cannot_be_bound_refuses() -> None:
    unable = replace(ABLE, capabilities=frozenset({Capability.SCHEMA}))

    found = list(faults(Constraint(regex="a"), unable, others=()))

    assert "constraint" in found[0].suggested_fix
