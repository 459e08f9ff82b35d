"""How likely paths of tokens are, asked of a server whose model is known to the last digit."""

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import cast

import pytest

from services.chassis.errors import InvalidArgument, Unavailable
from services.inference.domain.generation import Usage
from services.inference.domain.request import JSON
from services.inference.engines.branches import branches, sums
from services.inference.engines.llamacpp.walk import LEAST, Walk

CLOSING = 0
VOCABULARY = 600
WITHIN_A_CHARACTER = 7
PROMPT = (11, 12, 13)


class KnownServer:
    """llama.cpp's server, as far as a walk needs it, over logits that anybody can compute."""

    def __init__(self, *, spread: float = 6.0) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.on_ask: Callable[[], None] = lambda: None
        self._spread = spread

    def logits(self, behind: tuple[int, ...]) -> list[float]:
        random = Random(repr(behind))
        return [random.gauss(0, self._spread) for _ in range(VOCABULARY)]

    def likely(self, path: tuple[int, ...]) -> float:
        told = 0.0
        for end, token in enumerate(path):
            logits = self.logits((*PROMPT, *path[:end]))
            told += logits[token] - math.log(math.fsum(map(math.exp, logits)))
        return told

    def handle_completions(
        self, body: Mapping[str, JSON], callback: Callable[[Mapping[str, JSON]], bool]
    ) -> None:
        prompt = tuple(cast("list[int]", body["prompt"]))
        self.asked.append(prompt)
        self.on_ask()
        logits = self.logits(prompt)
        biased = list(logits)
        for token, bias in cast("list[tuple[int, float]]", body["logit_bias"]):
            biased[token] += bias
        produced = max(range(VOCABULARY), key=biased.__getitem__)
        if "post_sampling_probs" in body:
            most = biased[produced]
            weights = [math.exp(each - most) for each in biased]
            values = [each / math.fsum(weights) for each in weights]
            one, several = "prob", "top_probs"
        else:
            whole = math.log(math.fsum(map(math.exp, logits)))
            values = [each - whole for each in logits]
            one, several = "logprob", "top_logprobs"
        best = sorted(range(VOCABULARY), key=values.__getitem__, reverse=True)
        told: dict[str, JSON] = {
            "id": produced,
            one: values[produced],
            several: [{"id": each, one: values[each]} for each in best[: int(body["n_probs"])]],
        }
        says = produced != WITHIN_A_CHARACTER
        if callback({"choices": [{"logprobs": {"content": [told]} if says else None}]}):
            return
        callback({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 2}}})


def walked(server: KnownServer, paths: Sequence[tuple[int, ...]]) -> tuple[float, ...]:
    return Walk(PROMPT, paths, CLOSING).run(server)


def path(*tokens: int) -> tuple[int, ...]:
    return (*tokens, CLOSING)


PATHS = (
    path(20),
    path(20, 21),
    path(20, 21, 22),
    path(30, 21),
    path(WITHIN_A_CHARACTER, 40),
    path(WITHIN_A_CHARACTER, WITHIN_A_CHARACTER, 41),
    path(50, WITHIN_A_CHARACTER),
)


@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_every_path_is_as_likely_as_the_model_finds_it(spread: float) -> None:
    server = KnownServer(spread=spread)

    found = walked(server, PATHS)

    assert found == pytest.approx([server.likely(each) for each in PATHS], abs=1e-6)


def test_what_paths_share_is_asked_once_or_twice_and_in_an_order_that_keeps_the_cache() -> None:
    server = KnownServer()

    walked(server, PATHS)

    beginnings = {each[:end] for each in PATHS for end in range(len(each))}
    assert len(server.asked) <= 3 * len(beginnings)
    order = list(dict.fromkeys(server.asked))
    assert order == [(*PROMPT, *each) for each in branches(PATHS)]


def test_a_token_next_to_impossible_counts_as_little_and_not_as_nothing() -> None:
    server = KnownServer(spread=90.0)

    found = walked(server, [path(20), path(30)])

    assert all(2 * LEAST <= each <= 0 for each in found)


def test_a_walk_says_what_it_scored_and_what_was_cached() -> None:
    walk = Walk(PROMPT, [path(20, 21), path(20, 22)], CLOSING)

    walk.run(KnownServer())

    assert walk.usage == Usage(len(PROMPT), 3, 2)


def test_a_walk_that_is_closed_asks_nothing_more() -> None:
    server = KnownServer()
    walk = Walk(PROMPT, PATHS, CLOSING)
    server.on_ask = lambda: setattr(walk, "is_closed", True)

    walk.run(server)

    assert (walk.found, len(server.asked)) == ((), 1)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8},
            InvalidArgument,
            "CONTEXT_WINDOW_EXCEEDED",
        ),
        ({"message": "broken"}, Unavailable, "ENGINE_FAILED"),
    ],
)
def test_what_the_server_says_went_wrong_is_told(
    error: JSON, kind: type[Exception], reason: str
) -> None:
    server = KnownServer()
    server.handle_completions = lambda _, callback: callback({"error": error})

    with pytest.raises(kind) as caught:
        walked(server, PATHS)

    assert caught.value.reason == reason


def test_a_server_that_tells_nothing_is_a_failed_engine() -> None:
    server = KnownServer()
    server.handle_completions = lambda _, callback: callback({"choices": []})

    with pytest.raises(Unavailable) as caught:
        walked(server, PATHS)

    assert caught.value.reason == "ENGINE_FAILED"


def test_beginnings_come_depth_first_each_with_what_may_follow() -> None:
    found = branches([(1, 2, 0), (3, 0), (1, 0)])

    assert found == {(): (1, 3), (1,): (0, 2), (1, 2): (0,), (3,): (0,)}
    assert list(found) == [(), (1,), (1, 2), (3,)]


def test_a_path_is_as_likely_as_its_tokens_together() -> None:
    known = {(1,): -1.0, (1, 2): -0.5, (3,): -2.0}

    assert sums([(1, 2), (3,), (1,)], known) == (-1.5, -2.0, -1.0)
