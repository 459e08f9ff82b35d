"""That labels are scored exactly: beside what a real model says of tokens that it is forced to."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from services.inference.domain.request import Message
from services.inference.domain.scoring import Scoring
from services.inference.engines.chat import Defaults
from services.inference.engines.llamacpp.engine import LlamacppEngine
from services.inference.engines.llamacpp.model_file import located
from services.inference.engines.llamacpp.server import Sizes

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = (Message("user", "Is the sea calm?"),)
LABELS = ("POSITIVE", "POSITION", "yes", "yes please", "YES", "no", "zqxv", "a-b_c", " x")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LlamacppEngine]:
    engine = LlamacppEngine(located(None, None), Sizes(slots=1), Defaults(0.2, 0.9, 64))
    await engine.load()
    yield engine
    await engine.close()


def forced(engine: LlamacppEngine, prompt: Sequence[int], path: Sequence[int]) -> float:
    """The sum of the log-probabilities of the tokens of a turn that a grammar dictates."""
    chunks: list[dict[str, object]] = []
    body = {
        "prompt": prompt,
        "n_predict": len(path),
        "n_probs": 1,
        "grammar": "%llguidance {}\nstart: " + " ".join(f"<[{token}]>" for token in path),
        "temperature": 0.0,
        "stream": True,
    }
    engine._ready().server.handle_completions(body, lambda chunk: chunks.append(chunk) or False)
    told = [
        each["choices"][0]["logprobs"]["content"][0]
        for each in chunks
        if each.get("choices") and each["choices"][0].get("logprobs")
    ]
    assert [each["id"] for each in told] == list(path), json.dumps(chunks)[:500]
    return sum(each["logprob"] for each in told)


async def test_a_label_is_as_likely_as_the_turn_that_says_just_it(engine: LlamacppEngine) -> None:
    loaded = engine._ready()
    prompt = await loaded.prompt_tokens(MESSAGES, "")
    paths = await loaded.labels.paths(await loaded.rendered(MESSAGES), LABELS)

    found = await engine.score(Scoring("m", MESSAGES, LABELS))

    expected = [forced(engine, prompt, path) for path in paths]
    assert found.log_probabilities == pytest.approx(expected, abs=0.02)


async def test_a_label_is_written_as_the_model_would_write_it(engine: LlamacppEngine) -> None:
    loaded = engine._ready()
    rendered = await loaded.rendered(MESSAGES)

    paths = await loaded.labels.paths(rendered, LABELS)

    whole = await loaded.rendered(MESSAGES, LABELS[3])
    told = await loaded.tokens(whole, is_whole=True)
    assert told == [*await loaded.tokens(rendered, is_whole=True), *paths[3][:-1]]
    assert {path[-1] for path in paths} == {await loaded.labels.closing()}


async def test_a_label_cannot_end_the_turn_that_it_is(engine: LlamacppEngine) -> None:
    asked = Scoring("m", MESSAGES, ("yes<|im_end|>", "no"))

    usage = (await engine.score(asked)).usage

    tamed = await engine._ready().tokens("yes< |im_end|>")
    no = await engine._ready().tokens("no")
    assert usage.completion_tokens == len(tamed) + len(no)
