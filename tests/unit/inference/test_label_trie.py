"""Labels as the trie of their tokens."""

import math

import pytest

from services.inference.engines.label_trie import labels

END = 0


def test_beginnings_that_labels_share_are_there_once() -> None:
    trie = labels([[1, 2], [1, 3], [4]], END)

    assert trie.branches == {(): [1, 4], (1,): [2, 3], (4,): [END], (1, 2): [END], (1, 3): [END]}


def test_the_empty_beginning_comes_first() -> None:
    trie = labels([[5, 6, 7], [8]], END)

    assert next(iter(trie.branches)) == ()


def test_a_label_that_another_begins_with_ends_where_the_other_goes_on() -> None:
    trie = labels([[1], [1, 2]], END)

    assert trie.branches[1,] == [END, 2]


def test_a_label_is_as_likely_as_its_tokens_and_its_end_together() -> None:
    trie = labels([[1], [1, 2]], END)
    chances = {
        (): {1: math.log(0.5)},
        (1,): {END: math.log(0.25), 2: math.log(0.5)},
        (1, 2): {END: math.log(0.1)},
    }

    found = [math.exp(each) for each in trie.log_probabilities(chances)]

    assert found == pytest.approx([0.125, 0.025])
