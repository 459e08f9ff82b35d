"""Documents of JSON and YAML, as JSON has them."""

import click
import pytest

from services.cli.document import MOST_BYTES, document


def test_yaml_and_json_are_read() -> None:
    assert (
        document(b'{"openapi": "3.1.0"}') == document(b"openapi: 3.1.0\n") == {"openapi": "3.1.0"}
    )


def test_responses_dates_and_words_are_texts_as_in_json() -> None:
    found = document(b"200: {day: 2026-01-02, answer: on, when: yes, is_it: true, nothing: null}")

    expected = {"day": "2026-01-02", "answer": "on", "when": "yes", "is_it": True, "nothing": None}
    assert found == {"200": expected}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a list",
        b"just words",
        b"a: [1",
        b"a: .nan",
        b"a: &a [*a]",
        b"a: !!python/object/apply:os.system [ls]",
        b"\xff\xfe\x00",
        b"a: " + b"[" * 5_000,
        b" " * (MOST_BYTES + 1),
    ],
)
def test_what_is_no_document_is_a_usage_error(content: bytes) -> None:
    with pytest.raises(click.UsageError):
        document(content)
