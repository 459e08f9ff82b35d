"""Lines of batches: what is sent, and what is shown."""

import json
from typing import Any

import pytest

from services.cli import batch_lines as lines


def one(line: object) -> dict[str, Any]:
    """The item that a line is."""
    (item,) = lines.items([json.dumps(line)])
    return item


def openai(**body: Any) -> dict[str, Any]:
    """A line of an OpenAI batch file."""
    whole = {"messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": whole}


def test_a_string_is_what_the_user_says() -> None:
    assert one("What is 12*7?") == {"messages": [{"role": "user", "content": "What is 12*7?"}]}


def test_an_item_is_taken_as_it_is() -> None:
    item = {"key": "a", "messages": [{"role": "user", "content": "x"}], "prefix": "So"}

    assert one(item) == item


def test_a_line_of_an_openai_file_is_an_item() -> None:
    item = one(
        openai(
            model="small",
            messages=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ],
            temperature=0,
            max_completion_tokens=7,
            stop="!",
            seed=3,
            n=1,
            stream=False,
            user="me",
            response_format={"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
        )
    )

    assert item == {
        "key": "a",
        "model": "small",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
        ],
        "sampling": {"temperature": 0, "seed": 3, "max_tokens": 7, "stop": ["!"]},
        "response_schema": {"type": "array"},
    }


def test_lines_that_are_no_items_are_told_together() -> None:
    with pytest.raises(lines.Unusable) as refused:
        list(lines.items(['"fine"', "{", '{"message": []}', *["{"] * 100]))

    said = str(refused.value).split("\n  ")
    assert [each[:7] for each in said[1:3]] == ["line 2:", "line 3:"]
    assert len(said) == 1 + lines.MAX_FAULTS


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2: "),
        ("7", "no item"),
        ('{"mesages": []}', "mesages is not known"),
        (json.dumps(openai(tools=[{}])), "body.tools is not taken"),
        (json.dumps(openai(n=2)), "body.n is not taken"),
        (json.dumps(openai() | {"url": "/v1/embeddings"}), "only POST /v1/chat/completions"),
        (json.dumps({"custom_id": "a"}), "body is no JSON object"),
        (
            json.dumps(openai(messages=[{"role": "user", "content": [{"type": "image_url"}]}])),
            "no text",
        ),
        (json.dumps(openai(response_format={"type": "json_schema"})), "json_schema.schema"),
        ("[" * 100_000, "line 2: "),
    ],
)
def test_a_line_that_is_no_item_is_named(line: str, why: str) -> None:
    with pytest.raises(lines.Unusable, match="line 2") as refused:
        list(lines.items(['"first"', line]))

    assert why in str(refused.value)


def test_more_items_than_a_batch_takes_are_several_batches() -> None:
    sizes = [len(each) for each in lines.batches(one(str(n)) for n in range(2_001))]

    assert sizes == [1_000, 1_000, 1]


def test_items_that_are_large_are_several_batches() -> None:
    sizes = [len(each) for each in lines.batches(one("x" * 600_000) for _ in range(5))]

    assert sizes == [2, 2, 1]


def test_results_can_be_shown_as_openai_has_them() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    item = {
        "batch_id": "batch_1",
        "key": "a",
        "index": 2,
        "status": "completed",
        "text": "84",
        "finish_reason": "stop",
        "usage": usage,
        "metadata": {"model": "echo"},
    }

    line = lines.openai(item)

    assert line is not None
    body = line["response"]["body"]
    assert (line["custom_id"], line["error"]) == ("a", None)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "84"}
    assert (body["model"], body["usage"]) == ("echo", usage)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"status": "expired"}, "batch_expired"),
        ({"status": "canceled"}, "batch_cancelled"),
        (
            {"status": "failed", "error": {"reason": "ENGINE_FAILED", "message": "it died"}},
            "ENGINE_FAILED",
        ),
    ],
)
def test_what_has_no_answer_has_an_error(item: dict[str, Any], code: str) -> None:
    line = lines.openai({"key": "a", **item})

    assert line is not None
    assert (line["response"], line["error"]["code"]) == (None, code)


def test_what_has_not_ended_is_no_result() -> None:
    assert lines.openai({"status": "pending"}) is None


def test_a_line_says_how_far_a_batch_is() -> None:
    counts = {"total": 10, "pending": 4, "failed": 1}
    batch = {"batch_id": "batch_1", "status": "running", "counts": counts, "cost_usd": 0.00125}

    assert lines.batch(batch) == "batch_1  running  6 of 10, 1 failed  $0.001250"
