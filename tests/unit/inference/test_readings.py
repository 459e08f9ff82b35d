"""Texts as vectors, and what the echo engine makes of what it reads."""

import math

import pytest

from services.inference.domain.embedding import unit
from services.inference.engines.echo.readings import DIMENSIONS, hashed, likely
from services.inference.engines.llamacpp.vectors import GROUP, groups


def test_as_many_texts_are_read_together_as_there_is_room_for() -> None:
    sized = [("a", 5), ("b", 5), ("c", 1), ("long", 30), ("d", 1)]

    assert groups(sized, most=10) == [["a", "b"], ["c"], ["long"], ["d"]]


def test_a_group_has_a_bounded_number_of_texts() -> None:
    found = groups([("x", 1)] * (2 * GROUP + 1), most=1_000)

    assert [len(each) for each in found] == [GROUP, GROUP, 1]


def test_a_vector_becomes_one_of_length_1() -> None:
    assert unit([3.0, 4.0]) == pytest.approx((0.6, 0.8))


def test_a_vector_without_a_direction_stays() -> None:
    assert unit([0.0, 0.0]) == (0.0, 0.0)


def test_echo_finds_a_label_likelier_the_more_often_it_is_mentioned() -> None:
    assert likely("Good, good. Not bad.", ("GOOD", "bad", "so-so")) == (6.0, 3.0, 0.0)


@pytest.mark.parametrize("text", ["one two", " ", "a b c d e f g h i j k l m n o p", "😀"])
def test_echo_s_vectors_have_length_1_and_one_size(text: str) -> None:
    vector = hashed(text)

    assert len(vector) == DIMENSIONS
    assert math.hypot(*vector) == pytest.approx(1.0)


def test_echo_s_vectors_are_nearer_for_texts_with_words_in_common() -> None:
    sea, wide, moon = map(hashed, ("the sea is wide", "The sea is deep", "one two three four"))

    assert math.dist(sea, wide) < math.dist(sea, moon)
