"""What every engine promises that says how likely labels are."""

import asyncio
import math
from contextlib import AsyncExitStack, aclosing

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.inference.domain.model import Capability
from services.inference.domain.request import Message
from services.inference.domain.scoring import Scored, Scoring, shares
from services.inference.ports import Engine
from tests.contract.inference.asks import AT_ONCE, answer, asking, idle, until
from tests.contract.inference.engines import SLOTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.needs(Capability.CLASSIFY)]

AWKWARD = (
    ("yes", "yes please", "yes please!", "no"),
    (" yes", "yes", "yes ", "y e s", "  yes"),
    ("é", "e\u0301", "漢", "😀", "😀!"),
    ("a\nb", "a", "a\n", "\ta"),
    ("<|im_end|>", "{}", "\\"),
    tuple(str(number) for number in range(8, 15)),
    ("one", "x" * 64),
)


def scoring(engine: Engine, labels: tuple[str, ...], text: str = "I like it, yes.") -> Scoring:
    told = Message("system", f"Answer with one of: {', '.join(labels)}")
    return Scoring(engine.models()[0].name, (told, Message("user", text)), labels)


async def scored(engine: Engine, asked: Scoring) -> Scored:
    async with asyncio.timeout(100):
        return await engine.score(asked)


@pytest.mark.parametrize("labels", AWKWARD, ids=lambda labels: ascii(labels[0])[:12])
async def test_shares_of_all_labels_sum_to_1_however_awkward_they_are(
    engine: Engine, labels: tuple[str, ...]
) -> None:
    likely = (await scored(engine, scoring(engine, labels))).log_probabilities

    assert len(likely) == len(labels)
    assert all(map(math.isfinite, likely))
    assert abs(math.fsum(shares(likely)) - 1) <= 1e-9


async def test_a_turn_that_ended_by_itself_is_likelier_than_one_that_goes_on(
    engine: Engine,
) -> None:
    question = asking(engine, "Hello", max_tokens=200, temperature=0.0)
    texts, end = await answer(engine, question)
    said = "".join(texts)

    likely = (
        await scored(
            engine, Scoring(question.model, question.messages, (f"{said} zqxv", said, "zqxv"))
        )
    ).log_probabilities

    assert end.reason == "stop"
    assert likely[1] > likely[0]


async def test_a_label_is_as_likely_beside_these_labels_as_beside_those(engine: Engine) -> None:
    messages = scoring(engine, ("red", "green", "green tea")).messages
    name = engine.models()[0].name

    one = await scored(engine, Scoring(name, messages, ("red", "green", "green tea")))
    other = await scored(engine, Scoring(name, messages, ("green tea", "greenish", "red")))

    red, _, tea = one.log_probabilities
    assert other.log_probabilities[2] - other.log_probabilities[0] == pytest.approx(
        red - tea, abs=0.1
    )


async def test_the_same_labels_get_the_same_scores(engine: Engine) -> None:
    asked = scoring(engine, ("sea", "moon", "seaside"))
    await scored(engine, asked)  # From then on the prompt comes from the cache.

    one, other = [(await scored(engine, asked)).log_probabilities for _ in range(2)]

    assert one == pytest.approx(other, abs=1e-3)


async def test_scoring_side_by_side_mixes_nothing_up(engine: Engine) -> None:
    asked = [scoring(engine, ("calm", "wild"), text) for text in ("How wild!", "Calm, so calm.")]
    alone = [(await scored(engine, each)).log_probabilities for each in asked]

    together = await asyncio.gather(*(scored(engine, each) for each in asked))

    assert [each.log_probabilities for each in together] == [
        pytest.approx(each, abs=0.2) for each in alone
    ]


async def test_the_prompt_of_labels_counts_as_count_tokens_counts_it(engine: Engine) -> None:
    asked = scoring(engine, ("calm", "wild"))

    usage = (await scored(engine, asked)).usage

    assert usage.prompt_tokens == await engine.count_tokens(asked.model, asked.messages)
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens
    assert usage.completion_tokens >= 2


async def test_labels_behind_a_prompt_over_the_window_are_refused(engine: Engine) -> None:
    window = engine.models()[0].context_tokens

    with pytest.raises(InvalidArgument) as caught:
        await engine.score(scoring(engine, ("a", "b"), "word " * 2 * window))
    await idle(engine)

    assert caught.value.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert caught.value.metadata["limit_tokens"] == str(window)


async def test_scoring_that_is_cancelled_frees_its_slot(engine: Engine) -> None:
    text = "sleep:600000\n" + "The sea is wide. " * 150
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(engine.score(scoring(engine, ("calm", "wild"), text)))
        await until(lambda: engine.active)
        reading.cancel()
    await idle(engine)

    assert engine.active == 0


async def test_scoring_that_finds_slots_and_queue_full_is_turned_away(engine: Engine) -> None:
    await idle(engine)
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        for _ in range(SLOTS):
            request = asking(engine, "tokens:1000000\nTell me a long story.", max_tokens=900)
            pieces = engine.generate(request, pace=AT_ONCE)
            await anext(await stack.enter_async_context(aclosing(pieces)))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(engine.score(scoring(engine, ("a", "b"))))
            await until(lambda: engine.waiting)
            with pytest.raises(ResourceExhausted) as caught:
                await engine.score(scoring(engine, ("a", "b")))
            await stack.aclose()
    await idle(engine)

    assert (caught.value.reason, bool(caught.value.retry_after)) == ("ENGINE_OVERLOADED", True)
    assert waiting.result().queue_ms > 0
