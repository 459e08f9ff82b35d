"""A model that llama.cpp has loaded, and its words: prompts, tokens, and what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, cast

import httpx2

from services.inference.domain.model import Model
from services.inference.domain.request import JSON, Message
from services.inference.domain.scoring import Scoring
from services.inference.engines import chat, failures
from services.inference.engines.llamacpp.completion import Server
from services.inference.engines.llamacpp.label_tokens import LabelTokens
from services.inference.engines.llamacpp.vectors import Vectors
from services.inference.engines.llamacpp.walk import Walk
from services.inference.engines.vocabulary import Tame

_ADDED_TOKENS: Final = 3  # Those that begin and end a text, and a space before it.


class _Measured(Protocol):
    def handle_metrics(self) -> object:
        """Figures, once the thread that computes gets to it."""


class Loaded:
    """A loaded model: the server in this process, and its own loopback port for the rest."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, model: Model, tame: Tame) -> None:
        self.server = server
        self.http = http
        self.model = model
        self.labels = LabelTokens(self)
        self._tame = tame

    def let_go(self) -> None:
        """Free the model's memory and end its threads now: what refers to this may live on.

        A server that is told to stop before its thread has begun to work never hears of it, and
        waits for it with the interpreter's lock in its hands. So it is asked for something first.
        """
        cast("_Measured", self.server).handle_metrics()
        del self.server

    def tamed(self, messages: Sequence[Message], prefix: str) -> tuple[tuple[Message, ...], str]:
        """What is said, and nothing that the model would take for the end of a turn."""
        said = tuple(replace(each, content=self._tame(each.content)) for each in messages)
        return said, self._tame(prefix)

    async def rendered(self, messages: Sequence[Message], prefix: str = "") -> str:
        """The prompt that the model's own template makes of them."""
        asked: Mapping[str, JSON] = {"messages": chat.turns(messages, prefix)}
        return cast("str", (await self.ask("POST", "/apply-template", asked))["prompt"])

    async def tokens(self, text: str, *, is_whole: bool = False) -> list[int]:
        """A text's tokens; of a whole prompt, with those that begin one."""
        asked: Mapping[str, JSON] = {
            "content": text,
            "add_special": is_whole,
            "parse_special": True,
        }
        return cast("list[int]", (await self.ask("POST", "/tokenize", asked))["tokens"])

    async def prompt_tokens(self, messages: Sequence[Message], prefix: str) -> list[int]:
        """The tokens of the prompt that they make, tamed."""
        rendered = await self.rendered(*self.tamed(messages, prefix))
        return await self.tokens(rendered, is_whole=True)

    async def walk(self, scoring: Scoring) -> Walk:
        """What scores labels.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; prompt and longest label leave no room.
        """
        messages, _ = self.tamed(scoring.messages, "")
        labels = [self._tame(each) for each in scoring.labels]
        return await self.labels.walk(messages, labels, self.model.context_tokens)

    async def vectors(self, inputs: Sequence[str]) -> Vectors:
        """What makes vectors of texts.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; one has more tokens than the model takes.
        """
        window = self.model.context_tokens
        sized: list[tuple[str, int]] = []
        for index, text in enumerate(map(self._tame, inputs)):
            size = len(text.encode()) + _ADDED_TOKENS  # A token has a byte at least.
            if size > window:
                size = len(await self.tokens(text, is_whole=True))
            if size > window:
                raise failures.text_exceeds(f"inputs[{index}]", size, window)
            sized.append((text, size))
        return Vectors(sized, most=window)

    async def ask(
        self, method: str, path: str, body: Mapping[str, JSON] | None = None
    ) -> Mapping[str, JSON]:
        """What the server answers on its port.

        Raises:
            Unavailable: `ENGINE_FAILED`.
        """
        try:
            response = await self.http.request(method, path, json=body)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise failures.engine_failed(f"{path}: {error}") from None
        return cast("Mapping[str, JSON]", response.json())
