"""Turns of models that may be said again: at hand those that were used lately, and all of them in
the hot store, which other replicas have, too. Any of them may be forgotten."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.hotstore.port import HotStore
from services.chassis.lately import Lately
from services.orchestrator.domain.caching import CacheCounts
from services.orchestrator.domain.events import Turn

log = logging.getLogger(__name__)

PATIENCE: Final = 0.1  # Seconds for the hot store: a model may be quicker than one that is away.
PAUSE: Final = 1.0  # Before one is asked again that was too slow.
_FORMAT: Final = 1
_BESIDE_BYTES: Final = 400  # What an answer takes beside its text, about.

Name = tuple[str, str]
"""A tenant, and what its question comes to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole turn."""

    time: float
    """When it was said, in seconds since 1970."""
    texts: Sequence[str]
    turn: Turn

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        return _BESIDE_BYTES + sum(map(sys.getsizeof, self.texts))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, and for how long."""

    near_bytes: int
    """Of all that is at hand."""
    most_bytes: int
    """Of one answer."""
    ttl: timedelta


class Answers:
    """The answers of all tenants. None gets another's."""

    def __init__(self, hot: HotStore, bounds: Bounds, now: Callable[[], datetime]) -> None:
        self._hot = hot
        self._bounds = bounds
        self._now = now
        self._near: Lately[Name, Answer] = Lately(
            bounds.near_bytes, owner=lambda name: name[0], weigh=lambda answer: answer.size_bytes
        )
        self._away_until = 0.0
        self.counts = CacheCounts()

    async def find(self, name: Name, max_age_seconds: int | None) -> Answer | None:
        """The answer to a question, if it is not older than that."""
        answer = self._near.get(name)
        if answer is not None and self._is_fresh(answer, max_age_seconds):
            self.counts.hits["near"] += 1
            return answer
        answer = await self._far(name)
        if answer is None or not self._is_fresh(answer, max_age_seconds):
            return None
        self.counts.hits["far"] += 1
        return self._at_hand(name, answer)

    def keep(self, name: Name, texts: Sequence[str], turn: Turn) -> Answer | None:
        """Keep an answer at hand, in place of the one that was there; None if it is too large.
        `spread` puts it into the hot store."""
        answer = Answer(self._now().timestamp(), tuple(texts), turn)
        if answer.size_bytes > self._bounds.most_bytes:
            return None
        self.counts.kept += 1
        return self._at_hand(name, answer)

    async def spread(self, name: Name, answer: Answer) -> None:
        """Let other replicas have it. What cannot be told does not matter."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._hot.set(_key(name), _encoded(answer), ttl=self._bounds.ttl)
        except TimeoutError:
            log.debug("answer not spread")

    def _at_hand(self, name: Name, answer: Answer) -> Answer:
        self._near.put(name, answer)
        self.counts.entries, self.counts.size_bytes = len(self._near), self._near.weight
        return answer

    def _is_fresh(self, answer: Answer, max_age_seconds: int | None) -> bool:
        """Whether it is young enough. Clocks of replicas may differ a little."""
        age = max(0.0, self._now().timestamp() - answer.time)
        most = self._bounds.ttl.total_seconds()
        return age < (most if max_age_seconds is None else min(most, max_age_seconds))

    async def _far(self, name: Name) -> Answer | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                held = await self._hot.get(_key(name))
        except TimeoutError:
            self._away_until = loop.time() + PAUSE
            return None
        if held is None or len(held) > 2 * self._bounds.most_bytes:
            return None
        return _decoded(held)


def _key(name: Name) -> str:
    """No two tenants' keys are one, whatever is in their names."""
    tenant, question = name
    return f"answer/{len(tenant)}/{tenant}/{question}"


def _encoded(answer: Answer) -> bytes:
    turn = answer.turn
    used = [turn.prompt_tokens, turn.completion_tokens, turn.cached_tokens]
    document = {"v": _FORMAT, "at": answer.time, "texts": list(answer.texts), "used": used}
    return json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")


def _decoded(held: bytes) -> Answer | None:
    """What another replica kept, of whatever release; None if this one cannot read it."""
    try:
        return _answer(json.loads(held))
    except (ValueError, TypeError, KeyError, RecursionError):
        log.warning("answer not understood", extra={"size_bytes": len(held)})
        return None


def _answer(document: Mapping[str, Any]) -> Answer | None:
    if document["v"] != _FORMAT:
        return None
    texts = tuple(document["texts"])
    prompt, completion, cached = map(int, document["used"])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("texts")
    return Answer(float(document["at"]), texts, Turn(prompt, completion, cached))
