"""Texts as vectors by llama.cpp, on the thread that runs it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from services.inference.domain.embedding import Vector, unit
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.llamacpp.completion import Server, failure

GROUP: Final = 4
"""Texts that are read together."""


class Vectors:
    """Reads texts, a few at a time. Whoever closes it stops it within one group."""

    def __init__(self, texts: Sequence[tuple[str, int]], *, most: int) -> None:
        """Texts and their sizes. A group has a size of at most `most`, if it has several."""
        self._groups = groups(texts, most=most)
        self.prompt_tokens = 0
        self.found: list[Vector] = []
        """A vector for each text that was read, of length 1."""
        self.is_closed = False

    def run(self, server: Server) -> None:
        """Read all of them, unless it is closed. Blocks.

        Raises:
            ServiceError: llama.cpp cannot.
        """
        for group in self._groups:
            if self.is_closed:
                return
            self.found += self._read(server, group)

    def _read(self, server: Server, group: Sequence[str]) -> Iterator[Vector]:
        try:
            answer = server.handle_embeddings({"input": list(group)})
        except (RuntimeError, ValueError) as error:
            raise failures.engine_failed(str(error)) from None
        if (error_ := answer.get("error")) is not None:
            raise failure(cast("Mapping[str, JSON]", error_))
        self.prompt_tokens += cast("Mapping[str, int]", answer["usage"])["prompt_tokens"]
        data = cast("Sequence[Mapping[str, Sequence[float]]]", answer["data"])
        return (unit(each["embedding"]) for each in data)


def groups(texts: Sequence[tuple[str, int]], *, most: int) -> Sequence[Sequence[str]]:
    """The texts in their order, as many together as may be."""
    found: list[list[str]] = []
    room = 0
    for text, size in texts:
        if not found or size > room or len(found[-1]) == GROUP:
            found.append([])
            room = most
        found[-1].append(text)
        room -= size
    return found
