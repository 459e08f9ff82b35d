"""How a model writes labels, as the whole of its turn, and the walk along them."""

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from services.chassis.lately import Lately
from services.inference.domain.request import Message
from services.inference.engines import failures
from services.inference.engines.branches import Path
from services.inference.engines.llamacpp.walk import Walk

_MARK: Final = "0x7e57"  # A text that no template has a reason to touch.
_TAIL: Final = 32  # Characters of a prompt that its last tokens are made of.
_AFTER: Final = 64
_REMEMBERED: Final = 2_048


class Tokenizer(Protocol):
    """A model's template and tokens."""

    def rendered(self, messages: Sequence[Message], prefix: str = "") -> Awaitable[str]:
        """The prompt that these messages make."""

    def tokens(self, text: str, *, is_whole: bool = False) -> Awaitable[list[int]]:
        """A text's tokens; of a whole prompt, with those that begin one."""


class LabelTokens:
    """Remembers what it was told: the same few labels come over and over."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._closing: int | None = None
        self._known: Lately[tuple[str, str], Path] = Lately(_REMEMBERED)

    async def walk(self, messages: Sequence[Message], labels: Sequence[str], window: int) -> Walk:
        """What scores the labels behind these messages.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`; prompt and longest label leave no room.
        """
        rendered = await self._tokenizer.rendered(messages)
        prompt = await self._tokenizer.tokens(rendered, is_whole=True)
        paths = await self.paths(rendered, labels)
        size = len(prompt) + max(map(len, paths))
        if size > window:
            raise failures.window_exceeded(size, window)
        return Walk(prompt, paths, await self.closing())

    async def closing(self) -> int:
        """The token that ends an assistant's turn: the first one behind what it said.

        Raises:
            Unavailable: `ENGINE_FAILED`; the template does not show what was said.
        """
        if self._closing is None:
            turns = (Message("user", "?"), Message("assistant", _MARK), Message("user", "?"))
            _, mark, after = (await self._tokenizer.rendered(turns)).rpartition(_MARK)
            tokens = await self._tokenizer.tokens(after[:_AFTER]) if mark and after else []
            if not tokens:
                raise failures.engine_failed("the model's template does not end a turn")
            self._closing = tokens[0]
        return self._closing

    async def paths(self, prompt: str, labels: Sequence[str]) -> list[Path]:
        """Each label's tokens behind the prompt, and what ends the turn.

        They are the tokens of prompt and label together, unless the label changes the prompt's.
        """
        tail = prompt[-_TAIL:]
        return [await self._path(tail, label) for label in labels]

    async def _path(self, tail: str, label: str) -> Path:
        if (known := self._known.get((tail, label))) is not None:
            return known
        before = await self._tokenizer.tokens(tail)
        both = await self._tokenizer.tokens(tail + label)
        is_apart = both[: len(before)] == before and len(both) > len(before)
        own = both[len(before) :] if is_apart else await self._tokenizer.tokens(label)
        return self._known.put((tail, label), (*own, await self.closing()))
