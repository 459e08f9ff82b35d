"""What no engine takes is refused, naming field and fix."""

import math
from dataclasses import replace

import pytest

from services.chassis.errors import InvalidArgument
from services.inference.domain.model import GENERATING, Capability, Model
from services.inference.domain.request import Message, Request, ResponseSchema, Sampling, check

HELLO = Message("user", "hello")
MODEL = Model("m", "1", "e", 100, 10, 1, GENERATING)
STUBBORN = replace(MODEL, capabilities=GENERATING - {Capability.CONTINUE})
BOUND = ResponseSchema({}, lambda _: [])


def fields_refused(request: Request, model: Model = MODEL, max_bytes: int = 100) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        check(request, model, max_bytes=max_bytes)
    assert caught.value.reason == "INVALID_REQUEST"
    assert all(each.suggested_fix for each in caught.value.violations)
    return [each.field for each in caught.value.violations]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ((), "messages"),
        ((HELLO,) * 1_001, "messages"),
        ((HELLO, Message("robot", "")), "messages[1].role"),
        ((Message("", "x"),), "messages[0].role"),
        ((Message("user", "\ud800"),), "messages[0].content"),
        ((Message("user", "é" * 30), Message("user", "é" * 30)), "messages"),
    ],
    ids=["none", "many", "role", "no role", "surrogate", "bytes"],
)
def test_conversations_that_are_refused(messages: tuple[Message, ...], field: str) -> None:
    assert fields_refused(Request("", messages)) == [field]


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (Sampling(temperature=-0.1), "sampling.temperature"),
        (Sampling(temperature=2.1), "sampling.temperature"),
        (Sampling(temperature=math.nan), "sampling.temperature"),
        (Sampling(temperature=math.inf), "sampling.temperature"),
        (Sampling(top_p=0.0), "sampling.top_p"),
        (Sampling(top_p=1.1), "sampling.top_p"),
        (Sampling(top_p=math.nan), "sampling.top_p"),
        (Sampling(max_tokens=0), "sampling.max_tokens"),
        (Sampling(stop=("x",) * 9), "sampling.stop"),
        (Sampling(stop=("x", "")), "sampling.stop[1]"),
        (Sampling(stop=("x" * 65,)), "sampling.stop[0]"),
    ],
    ids=str,
)
def test_sampling_that_is_refused(sampling: Sampling, field: str) -> None:
    assert fields_refused(Request("", (HELLO,), sampling)) == [field]


def test_all_faults_of_sampling_are_named_at_once() -> None:
    sampling = Sampling(temperature=3, top_p=0, max_tokens=-1)

    assert len(fields_refused(Request("", (HELLO,), sampling))) == 3


def test_the_bounds_themselves_are_taken() -> None:
    sampling = Sampling(0.0, 1.0, 1, ("x" * 64,) * 8, -5)

    check(Request("", (HELLO,) * 1_000, sampling), MODEL, max_bytes=5_000)


@pytest.mark.parametrize(
    ("request_", "model", "fields"),
    [
        (Request("", (HELLO,), schema=BOUND, prefix="{"), MODEL, ["prefix"]),
        (Request("", (HELLO,), prefix="hel"), STUBBORN, ["prefix"]),
        (Request("", (HELLO,), schema=BOUND, prefix="{"), STUBBORN, ["prefix", "prefix"]),
        (Request("", (HELLO,), prefix="\ud800"), MODEL, ["prefix"]),
        (Request("", (HELLO,), prefix="x" * 96), MODEL, ["messages"]),
    ],
    ids=["schema", "model", "both", "surrogate", "bytes"],
)
def test_prefixes_that_are_refused(request_: Request, model: Model, fields: list[str]) -> None:
    assert fields_refused(request_, model) == fields


def test_a_prefix_within_the_bound_is_taken_and_a_model_that_cannot_go_on_needs_none() -> None:
    check(Request("", (HELLO,), prefix="x" * 95), MODEL, max_bytes=100)
    check(Request("", (HELLO,), schema=BOUND), STUBBORN, max_bytes=100)
