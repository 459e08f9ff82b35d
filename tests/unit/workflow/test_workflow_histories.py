"""Recorded logs of workflows: every one must still replay, and be written as it was.

They are written once, by `python -m tests.histories.workflows`, and never changed: see the README
beside them.
"""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.eventlog.port import Record
from services.workflow.adapters import codec, snapshots
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Standing
from services.workflow.domain.verification import Beside, Fault, Following, Shown
from services.workflow.mapping import workflows as mapping
from services.workflow.mapping.events import NAMES
from tests.histories.reading import WORKFLOWS as FILES
from tests.histories.reading import History
from tests.histories.reading import workflow as recorded


@pytest.fixture(params=FILES, ids=lambda each: each.stem)
def history(request: pytest.FixtureRequest) -> History:
    return recorded(request.param)


def test_a_recorded_log_adds_up_to_what_is_stored_of_it(history: History) -> None:
    instance, known = history.replayed(), history.adds_up_to

    at = Standing(history.definition, instance, instance.update_time)
    shown = mapping.packed(at)
    assert (shown.status, shown.current_state) == (known["status"], known["state"])
    assert instance.sequence == known["sequence"]
    assert shown == history.shown


def test_a_recorded_log_is_written_as_it_was(history: History) -> None:
    events = [codec.decoded(each) for each in history.events]

    again = codec.encoded(history.definition, None, (history.replayed(), events), "")

    assert [(each.type, each.time, each.body) for each in again.stored] == [
        (each.type, each.time, each.body) for each in history.events
    ]
    assert again.head == history.adds_up_to["head"]


def test_a_recorded_log_is_whole(history: History) -> None:
    shown = base64.b64decode(history.adds_up_to["shown"])
    record = Record(mapping.RECORD, "", {}, shown)

    def differing(at: Standing) -> list[str]:
        return [each for each in mapping.differences(record, at) if "filter" not in each]

    sequence, head = history.adds_up_to["sequence"], history.adds_up_to["head"]
    following = Following(history.definition, Beside(Shown(sequence, head, differing), None, None))
    for each in history.events:
        following.follow(codec.recorded(each))

    assert following.end() == []


def test_a_recorded_log_is_the_same_through_a_snapshot_after_each_event(history: History) -> None:
    whole = history.replayed()

    for cut in range(1, len(history.events)):
        before = replace(history, events=history.events[:cut]).replayed()
        instance = snapshots.read(snapshots.written(before, "")).instance
        assert instance == before
        for event in history.events[cut:]:
            instance = evolve(history.definition, instance, codec.decoded(event))
        assert instance == whole


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_any_byte_that_is_changed_is_found(path: Path) -> None:
    history = recorded(path)
    head = history.adds_up_to["head"]
    beside = Beside(Shown(len(history.events), head, lambda at: ()), None, None)

    for number, event in enumerate(history.events):
        for at in range(0, len(event.body), 7):
            body = bytearray(event.body)
            body[at] ^= 1 + at % 255
            following = Following(history.definition, beside)
            for each in history.events:
                changed = replace(each, body=bytes(body)) if each is event else each
                following.follow(codec.recorded(changed))
            faults = {each.fault for each in following.end() if each.sequence == number + 1}
            assert faults & {Fault.EVENT_CHANGED, Fault.EVENT_UNREADABLE}


def test_every_event_that_can_be_stored_is_in_some_recorded_log() -> None:
    stored = {event.type for path in FILES for event in recorded(path).events}

    assert stored == {name for name, _ in NAMES.values()}
