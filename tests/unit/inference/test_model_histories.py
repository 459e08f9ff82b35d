"""Recorded logs of models: every one must still replay. See the README beside them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from services.inference.adapters import modelstore as store

FOLDER = Path(__file__).parents[2] / "histories"
FILES = sorted(FOLDER.glob("model_*.json"))


def recorded(path: Path) -> dict[str, Any]:
    """A log, and the entry that each of its events is known to hold."""
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_a_recorded_event_holds_the_entry_that_it_did(path: Path) -> None:
    document = recorded(path)

    read = [store.decode(base64.b64decode(each["body"])) for each in document["events"]]

    stored = [json.loads(store.encode(entry, is_wanted=wanted)) for entry, wanted in read]
    assert stored == document["adds_up_to"]


def test_every_event_that_can_be_stored_is_in_some_recorded_log() -> None:
    stored = {each["type"] for path in FILES for each in recorded(path)["events"]}

    assert stored == {
        store.CREATED,
        store.CHANGED,
        store.WANTED,
        store.UNWANTED,
        store.DELETED,
    }
