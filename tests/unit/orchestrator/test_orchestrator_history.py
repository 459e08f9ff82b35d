from dataclasses import replace

import pytest

from services.orchestrator.domain import history as hs
from services.orchestrator.domain.events import Message
from services.orchestrator.domain.session import SUMMARY_CHARACTERS, Summary
from tests.unit.orchestrator.test_orchestrator_session import exchange

SUMMARY = Summary("We met.", 1, 2, 5)
TURNS = [hs.shown(exchange(n, "q" * 84, "a" * 84), 1000) for n in range(2, 6)]
PAST = hs.Past(TURNS, None)  # Turns of 200 bytes each, with margins.


def test_a_summary_comes_before_the_turns_that_are_shown() -> None:
    said = [exchange(2, "Hi", "Hello"), exchange(3, "Bye", "Goodbye")]
    past = hs.Past([hs.shown(each, 1000) for each in said], SUMMARY)

    assert past.messages(1) == [
        Message("user", hs.NOTES + "We met."),
        Message("user", "Bye"),
        Message("assistant", "Goodbye"),
    ]
    assert past.messages(0, has_summary=False) == []


def test_a_long_message_says_how_much_of_it_is_missing() -> None:
    turn = hs.shown(exchange(2, "x" * 30, "y"), 10)

    assert turn.messages[0].content == "xxxxxxxxxx … (20 characters left out)"


@pytest.mark.parametrize(("room", "turns"), [(0, 0), (199, 0), (200, 1), (799, 3), (9999, 4)])
def test_the_newest_turns_are_shown_as_far_as_they_fit(room: int, turns: int) -> None:
    assert PAST.within(room) == turns
    assert hs.size(PAST.messages(turns)) <= room


def test_a_summary_takes_room_and_may_not_fit_itself() -> None:
    past = replace(PAST, summary=SUMMARY)

    assert past.within(200) == 0
    assert past.within(300) == 1
    assert past.within(10) == -1


@pytest.mark.parametrize(("shown", "kept"), [(4, 2), (3, 1), (2, 1), (1, 0), (0, 0)])
def test_a_summary_is_due_of_what_leaves_half_of_what_is_shown(shown: int, kept: int) -> None:
    assert PAST.due(shown) == TURNS[-1 - kept].sequence


def test_the_clerk_is_given_one_line_for_each_message() -> None:
    taken, asked = hs.clerks_prompt(SUMMARY, [exchange(2, "tool:x {}\nfail", "ok")], 4000)

    assert len(taken) == 1
    assert asked[-1].content.splitlines() == [
        "Notes so far: We met.",
        "User said: tool:x {} fail",
        "Assistant said: ok",
        "Write the notes.",
    ]


@pytest.mark.parametrize("size", [1, 500, 100_000])
@pytest.mark.parametrize("count", [1, 3, 32])
@pytest.mark.parametrize("letter", ["x", "€"])
def test_what_the_clerk_is_given_fits(size: int, count: int, letter: str) -> None:
    turns = [exchange(n, letter * size, letter * size) for n in range(count)]
    notes = replace(SUMMARY, text=letter * SUMMARY_CHARACTERS)

    taken, asked = hs.clerks_prompt(notes, turns, 2000)

    assert taken
    assert hs.size(asked) <= 2000


def test_notes_say_each_line_once_and_have_an_end() -> None:
    assert hs.tidied(" The dog is Rex.\n\nHi.\nHi.\nThe dog is Rex.") == "The dog is Rex.\nHi."
    assert len(hs.tidied("x" * 9_000)) == SUMMARY_CHARACTERS


def test_what_is_too_much_to_look_at_is_left_out_and_not_whole() -> None:
    assert PAST.newest(800) is PAST
    assert PAST.newest(799) == replace(PAST, turns=TURNS[1:], is_whole=False)
