"""A bill of materials that leaves something out is told."""

from pathlib import Path
from typing import Any

import pytest

from tests.images.bills import unlike

LOCK = "one-thing==1.0 \\\n    --hash=sha256:00\ntwo==2.0 \\\n    --hash=sha256:00\n"


def component(name: str, version: str) -> dict[str, Any]:
    reference = {"type": "distribution", "hashes": [{"alg": "SHA-256", "content": "00"}]}
    return {
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "externalReferences": [reference],
    }


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "any.lock"
    path.write_text(LOCK)
    return path


def test_a_bill_that_lists_what_is_locked_has_no_faults(lock: Path) -> None:
    bill = {"components": [component("One_thing", "1.0"), component("two", "2.0")]}

    assert list(unlike(bill, lock)) == []


@pytest.mark.parametrize("others", [[], [("two", "2.1")], [("two", "2.0"), ("three", "3")]])
def test_what_is_missing_other_or_too_much_is_named(
    others: list[tuple[str, str]], lock: Path
) -> None:
    bill = {"components": [component("one-thing", "1.0"), *(component(*each) for each in others)]}

    assert list(unlike(bill, lock)) != []


@pytest.mark.parametrize("change", [{"purl": "two"}, {"externalReferences": []}])
def test_a_package_that_cannot_be_told_is_named(change: dict[str, Any], lock: Path) -> None:
    bill = {"components": [component("one-thing", "1.0"), component("two", "2.0") | change]}

    assert list(unlike(bill, lock)) == ["two has no package URL, or no hash"]
