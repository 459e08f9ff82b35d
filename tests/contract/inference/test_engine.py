"""What every engine promises, asked of each in the table: see `engines.py`.

The model may say what it likes: nothing here asks how good it is.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted, Unavailable
from services.chassis.schema import Schema
from services.inference.domain.model import Capability
from services.inference.domain.request import JSON, Message, Request, ResponseSchema, Sampling
from services.inference.engines.chat import Defaults
from services.inference.engines.echo.engine import EchoEngine
from services.inference.engines.llamacpp.engine import LlamacppEngine
from services.inference.engines.llamacpp.model_file import located
from services.inference.engines.llamacpp.server import Sizes
from services.inference.ports import Engine
from tests.contract.inference.asks import AT_ONCE, NEVER, answer, asking, idle, until
from tests.contract.inference.engines import ENGINES, QUEUE, SLOTS

needs = pytest.mark.needs
pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs(Capability.GENERATE)]

LONG = " ".join(["Tell me a very long story about the sea, the moon and a whale."] * 8)
SHAPE: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["calm", "wild"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "tags": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": "string", "maxLength": 6},
        },
    },
    "required": ["mood", "count", "tags"],
    "additionalProperties": False,
}


async def test_an_engine_can_do_what_its_table_says(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    kind = ENGINES[request.node.callspec.params["engine"]]

    assert [model.capabilities for model in engine.models()] == [kind.capabilities]
    assert [model.slots for model in engine.models()] == [SLOTS]


async def test_text_comes_in_pieces_and_then_the_end(engine: Engine) -> None:
    texts, end = await answer(engine, asking(engine, "one two three four", max_tokens=3))

    assert texts
    assert all(texts)
    assert end.reason in {"stop", "length"}


async def test_without_a_pace_to_keep_all_text_after_the_first_comes_at_the_end(
    engine: Engine,
) -> None:
    texts, _ = await answer(engine, asking(engine, "one two three four", max_tokens=4), NEVER)

    assert len(texts) <= 2


async def test_a_turn_cut_at_its_limit_says_so_and_counts(engine: Engine) -> None:
    _, end = await answer(engine, asking(engine, LONG, max_tokens=5))

    assert (end.reason, end.usage.completion_tokens) == ("length", 5)


@needs(Capability.SCHEMA)
async def test_a_turn_that_ends_by_itself_says_so(engine: Engine) -> None:
    _, end = await answer(engine, asking(engine, "hello", schema={"const": "x"}))

    assert end.reason == "stop"


async def test_the_prompt_counts_as_count_tokens_counts_it(engine: Engine) -> None:
    request = asking(engine, "How many are we?", max_tokens=1)

    _, end = await answer(engine, request)

    counted = await engine.count_tokens(request.model, request.messages)
    assert end.usage.prompt_tokens == counted
    assert 0 <= end.usage.cached_tokens <= counted


@needs(Capability.CONTINUE)
async def test_a_turn_goes_on_from_its_prefix_and_does_not_repeat_it(engine: Engine) -> None:
    options = {"max_tokens": 24, "temperature": 0.0}
    request = asking(engine, f"Say one two three four.\n{LONG}", **options)
    whole = "".join((await answer(engine, request))[0])
    start = whole[: whole.index(" ", len(whole) // 3)]

    texts, end = await answer(engine, replace(request, prefix=start))

    assert texts
    assert not "".join(texts).startswith(start)
    assert "".join(texts).startswith(" ")
    assert end.usage.completion_tokens > 0


@needs(Capability.CONTINUE)
async def test_the_prefix_is_part_of_the_prompt_and_counts(engine: Engine) -> None:
    request = replace(asking(engine, "How many are we?", max_tokens=1), prefix="We are as many as")
    model, messages = request.model, request.messages

    _, end = await answer(engine, request)

    counted = await engine.count_tokens(model, messages, request.prefix)
    assert end.usage.prompt_tokens == counted
    assert counted >= await engine.count_tokens(model, messages) + 5


@needs(Capability.CONTINUE)
async def test_the_limit_of_tokens_is_for_what_comes_behind_the_prefix(engine: Engine) -> None:
    request = replace(asking(engine, LONG, max_tokens=5), prefix="Once upon a time, there was a")

    _, end = await answer(engine, request)

    assert (end.reason, end.usage.completion_tokens) == ("length", 5)


@needs(Capability.CONTINUE)
async def test_a_prefix_behind_what_the_assistant_said_is_taken(engine: Engine) -> None:
    messages = (Message("user", "Count."), Message("assistant", "One."))
    request = Request(
        engine.models()[0].name, messages, Sampling(max_tokens=2), prefix="After one comes"
    )

    _, end = await answer(engine, request)

    assert end.usage.completion_tokens > 0


async def test_prompts_of_any_length_are_counted(engine: Engine) -> None:
    window = engine.models()[0].context_tokens
    messages = [Message("user", "word " * 2 * window)]

    assert await engine.count_tokens(engine.models()[0].name, messages) > window


async def test_every_role_is_taken(engine: Engine) -> None:
    roles = ("system", "user", "assistant", "tool", "tool", "user")
    messages = tuple(Message(role, f"I am {role}.") for role in roles)
    request = Request(engine.models()[0].name, messages, Sampling(max_tokens=2))

    _, end = await answer(engine, request)

    assert end.usage.completion_tokens > 0


async def test_a_stop_text_ends_the_turn_and_is_not_in_it(engine: Engine) -> None:
    options = {"max_tokens": 24, "temperature": 0.0}
    whole = "".join((await answer(engine, asking(engine, LONG, **options)))[0])
    stop = whole.split()[3]

    texts, end = await answer(engine, asking(engine, LONG, stop=(stop,), **options))

    assert end.reason == "stop"
    assert "".join(texts) == whole[: whole.index(stop)]


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"temperature": 1.5, "seed": 7}])
async def test_the_same_request_gets_the_same_answer(
    engine: Engine, sampling: dict[str, object]
) -> None:
    # The first time the prompt is read in batches; from then on it comes from the cache.
    request = asking(engine, LONG, max_tokens=12, **sampling)
    await answer(engine, request)

    one, other = [(await answer(engine, request))[0] for _ in range(2)]

    assert "".join(one) == "".join(other)


@needs(Capability.SCHEMA)
async def test_output_bound_by_a_schema_matches_it_in_its_order(engine: Engine) -> None:
    texts, end = await answer(engine, asking(engine, "Describe the sea.", SHAPE))

    value = json.loads("".join(texts))
    assert end.reason == "stop"
    assert Schema(SHAPE, field="s").violations(value) == []
    assert list(value) == ["mood", "count", "tags"]


@needs(Capability.SCHEMA)
async def test_an_option_of_several_is_matched(engine: Engine) -> None:
    schema: JSON = {"anyOf": [SHAPE, {"type": "null"}]}

    texts, _ = await answer(engine, asking(engine, "Describe the sea.", schema))

    assert Schema(schema, field="s").violations(json.loads("".join(texts))) == []


@needs(Capability.SCHEMA)
@pytest.mark.parametrize(
    "schema",
    [{"type": "integer", "minimum": 5, "maximum": 4}, {"enum": []}],
    ids=["no number", "no value"],
)
async def test_a_schema_that_nothing_matches_is_refused_before_any_text(
    engine: Engine, schema: dict[str, JSON]
) -> None:
    unmatched = ResponseSchema(schema, lambda _: [])
    request = Request(engine.models()[0].name, (Message("user", "Hello"),), Sampling(), unmatched)

    with pytest.raises(InvalidArgument) as caught:
        async with aclosing(engine.generate(request, pace=AT_ONCE)) as pieces:
            await anext(pieces)
    await idle(engine)

    assert (caught.value.reason, caught.value.metadata["field"]) == (
        "SCHEMA_INVALID",
        "response_schema",
    )


async def test_a_prompt_over_the_window_is_refused_with_both_sizes(engine: Engine) -> None:
    window = engine.models()[0].context_tokens
    request = asking(engine, "word " * 2 * window)

    with pytest.raises(InvalidArgument) as caught:
        await answer(engine, request)
    await idle(engine)

    counted = await engine.count_tokens(request.model, request.messages)
    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["field"] == "messages"
    assert caught.value.metadata["limit_tokens"] == str(window)
    assert caught.value.metadata["prompt_tokens"] == str(counted)


@needs(Capability.CONTINUE)
async def test_a_prefix_that_leaves_no_room_in_the_window_is_refused(engine: Engine) -> None:
    window = engine.models()[0].context_tokens
    request = replace(asking(engine, "Hello"), prefix="word " * 2 * window)

    with pytest.raises(InvalidArgument) as caught:
        await answer(engine, request)
    await idle(engine)

    counted = await engine.count_tokens(request.model, request.messages, request.prefix)
    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["prompt_tokens"] == str(counted)


async def test_closing_the_generator_stops_the_engine(engine: Engine) -> None:
    request = asking(engine, f"tokens:1000000\n{LONG}", max_tokens=1_000)
    async with aclosing(engine.generate(request, pace=AT_ONCE)) as pieces:
        await anext(pieces)
        busy = engine.active
    await idle(engine)

    assert (busy, engine.active) == (1, 0)


async def test_closing_while_the_prompt_is_read_stops_the_engine(engine: Engine) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        request = asking(engine, "sleep:600000\n" + "The sea is wide. " * 150)
        reading = group.create_task(answer(engine, request))
        await until(lambda: engine.active)
        reading.cancel()
    await idle(engine)

    assert engine.active == 0


async def started(stack: AsyncExitStack, engine: Engine) -> AsyncGenerator[object, None]:
    request = asking(engine, f"tokens:1000000\n{LONG}", max_tokens=900)
    return await stack.enter_async_context(aclosing(engine.generate(request, pace=AT_ONCE)))


async def test_who_finds_slots_and_queue_full_is_turned_away_with_a_delay(engine: Engine) -> None:
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        for _ in range(SLOTS):
            await anext(await started(stack, engine))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(answer(engine, asking(engine, "hello", max_tokens=1)))
            await until(lambda: engine.waiting)
            with pytest.raises(ResourceExhausted) as caught:
                await answer(engine, asking(engine, "hello"))
            await stack.aclose()
    await idle(engine)

    assert caught.value.reason == "ENGINE_OVERLOADED"
    assert caught.value.retry_after
    assert waiting.result()[1].queue_ms > 0


async def test_who_stops_waiting_takes_no_slot(engine: Engine) -> None:
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        for _ in range(SLOTS):
            await anext(await started(stack, engine))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(answer(engine, asking(engine, "hello")))
            await until(lambda: engine.waiting)
            waiting.cancel()
        await stack.aclose()
        await idle(engine)

        texts = [await answer(engine, asking(engine, "hi", max_tokens=1)) for _ in range(SLOTS + 1)]

    assert len(texts) == SLOTS + 1


async def test_generations_run_side_by_side(engine: Engine) -> None:
    await idle(engine)
    requests = [asking(engine, f"Say {number}.", max_tokens=4) for number in range(SLOTS + QUEUE)]

    ends = await asyncio.gather(*(answer(engine, request) for request in requests))

    assert len(ends) == SLOTS + QUEUE


async def test_an_engine_that_is_not_loaded_says_when_to_come_back() -> None:
    engine = LlamacppEngine(located(None, None), Sizes(), Defaults(0.2, 0.9, 512))

    with pytest.raises(Unavailable) as caught:
        engine.models()

    assert (caught.value.reason, bool(caught.value.retry_after)) == ("ENGINE_LOADING", True)


async def test_echo_fails_where_its_script_says_so() -> None:
    engine = EchoEngine(slots=SLOTS, queue=QUEUE)

    with pytest.raises(Unavailable) as caught:
        await answer(engine, asking(engine, "fail"))

    assert caught.value.reason == "ENGINE_FAILED"
