"""`runplane classify` and `runplane embed` as processes, against a running suite."""

import json
import math

import pytest

from tests.e2e.running import Suite, outcome


def asked(echo: Suite, command: str, *arguments: str, given: str = "") -> tuple[int, str, str]:
    return outcome(command, "--state", str(echo.state), *arguments, given=given)


LABELS = ("--label", "good", "--label", "bad")


def test_classify_prints_the_labels_with_the_likeliest_first(echo: Suite) -> None:
    code, out, err = asked(echo, "classify", "So bad.", *LABELS, "--model", "echo")

    assert (code, err) == (0, "")
    assert out == "0.9526  bad\n0.0474  good\n"


def test_classify_reads_standard_input_and_prints_json(echo: Suite) -> None:
    code, out, _ = asked(echo, "classify", "-", *LABELS, "--json", given="good, good")

    assert code == 0
    assert json.loads(out)["results"][0]["label"] == "good"


def test_embed_prints_a_vector_for_each_text(echo: Suite) -> None:
    code, out, err = asked(echo, "embed", "the sea", "-", given="a whale")

    vectors = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "x", "--label", "one"),
        ("classify", "x", *LABELS, "--model", "gpt"),
        ("embed", "x", ""),
    ],
    ids=["one label", "no model", "empty text"],
)
def test_what_is_refused_is_one_line_with_a_fix(echo: Suite, arguments: tuple[str, ...]) -> None:
    code, out, err = asked(echo, *arguments)

    assert (code, out) == (1, "")
    assert err.startswith("refused: ")
    assert len(err.splitlines()) == 1
