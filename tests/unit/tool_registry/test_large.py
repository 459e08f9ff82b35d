"""Large results are worked on in threads: whoever else calls does not wait for them."""

import threading
from typing import Any

import httpx2
import pytest

from services.chassis.egress.secrets import Scrub
from services.chassis.schema import Schema
from services.tool_registry.adapters.http import answer as http_answer
from services.tool_registry.adapters.http.answer import Expected
from services.tool_registry.app import utc_now
from services.tool_registry.domain.size import LARGE_BYTES, is_large
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.usecases.calls import Limits
from tests.unit.tool_registry.fakes import LIMITS, FakeTool, asked, calls_of, returning

LARGE = ["x" * 100] * 1000
SMALL = ["x"] * 10
ROOMY = Limits(
    calls=LIMITS.calls,
    calls_per_tool=LIMITS.calls_per_tool,
    result_bytes=10 * LARGE_BYTES,
    retry_after=LIMITS.retry_after,
)


def is_here() -> bool:
    """Whether this is the loop's thread."""
    return threading.current_thread() is threading.main_thread()


class WatchedScrub(Scrub):
    """Knows where it worked."""

    def __init__(self) -> None:
        super().__init__(["s3cret"])
        self.was_here: list[bool] = []

    def value(self, value: object) -> object:
        self.was_here.append(is_here())
        return super().value(value)


class WatchedSchema(Schema):
    """Knows where it checked."""

    def __init__(self) -> None:
        super().__init__({"type": "array"}, field="output")
        self.was_here: list[bool] = []

    def violations(self, value: object) -> Any:
        self.was_here.append(is_here())
        return super().violations(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("x" * LARGE_BYTES, False),
        ("x" * (LARGE_BYTES + 1), True),
        ([0] * 1000, False),
        ([0] * 5000, True),
        ([[0] * 100] * 100, True),
        ({"x" * LARGE_BYTES: 1}, True),
        (LARGE, True),
        (SMALL, False),
    ],
)
def test_a_value_is_large_by_its_texts_names_and_members(value: object, expected: bool) -> None:
    assert is_large(value) is expected


def test_a_value_within_itself_is_large() -> None:
    value: list[object] = []
    value.append(value)

    assert is_large(value)


@pytest.mark.parametrize(("value", "here"), [(SMALL, True), (LARGE, False)], ids=["small", "large"])
async def test_an_http_answer_is_read_in_a_thread_if_it_is_large(value: object, here: bool) -> None:
    scrub = WatchedScrub()
    response = httpx2.Response(200, json=value)
    expected = Expected("tool", Schema({}, field="output"), "", 10 * LARGE_BYTES, utc_now)

    assert await http_answer.value_of(response, expected, scrub) == value
    assert scrub.was_here == [here]


@pytest.mark.parametrize(("value", "here"), [(SMALL, True), (LARGE, False)], ids=["small", "large"])
async def test_a_result_is_checked_in_a_thread_if_it_is_large(value: object, here: bool) -> None:
    schema = WatchedSchema()
    outcome = await calls_of(FakeTool(returning(value), output=schema), limits=ROOMY).call(asked())

    assert outcome.result == value
    assert outcome.is_large is not here
    assert schema.was_here == [here]


async def test_an_http_answer_of_too_many_values_is_refused_before_it_is_scrubbed() -> None:
    scrub = WatchedScrub()
    response = httpx2.Response(200, json=[{"a": 1}] * 60_000)
    expected = Expected("tool", Schema({}, field="output"), "", 100 * LARGE_BYTES, utc_now)

    with pytest.raises(ToolFailure) as caught:
        await http_answer.value_of(response, expected, scrub)

    assert caught.value.reason == "TOOL_RESULT_TOO_LARGE"
    assert scrub.was_here == []
