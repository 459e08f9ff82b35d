"""One chat completion of llama.cpp, on the thread that runs it."""

import json
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast

from services.chassis.errors import ServiceError
from services.inference.domain.generation import Finished, FinishReason, Usage
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.outbox import Outbox

_UNBOUND: Final = "llama.cpp can make no grammar of it; is it more than any value can match?"


class Completing(Protocol):
    """What goes on from tokens: llama.cpp's server, in this process or elsewhere."""

    def handle_completions(
        self, body: Mapping[str, JSON], callback: Callable[[Mapping[str, JSON]], bool]
    ) -> None:
        """Run a completion to its end; the callback stops it by returning True."""


class Server(Completing, Protocol):
    """What is used of `xllamacpp.Server`, which has no types."""

    listening_address: str

    def handle_chat_completions(
        self, body: Mapping[str, JSON], callback: Callable[[Mapping[str, JSON]], bool]
    ) -> None:
        """Run a chat completion to its end; the callback stops it by returning True."""

    def handle_embeddings(self, body: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Vectors of texts, or an error."""


class Completion:
    """Puts what llama.cpp says into an outbox.

    llama.cpp generates freely, without a word, when it cannot make a grammar of a schema. So an
    output that is bound by one is looked at: at its start, before anybody sees it, and at its end.
    """

    def __init__(self, outbox: Outbox, *, is_bound: bool) -> None:
        self._outbox = outbox
        self._is_bound = is_bound
        self._texts: list[str] = []
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._error: ServiceError | None = None

    def run(self, server: Server, body: Mapping[str, JSON]) -> None:
        """Generate, and say how it ended. Blocks."""
        try:
            server.handle_chat_completions(body, self._take)
        except (RuntimeError, ValueError) as error:
            self._error = failures.engine_failed(str(error))
        finally:
            self._outbox.end(self._outcome())

    def _take(self, chunk: Mapping[str, JSON]) -> bool:
        """Whether to stop."""
        if (error := chunk.get("error")) is not None:
            self._error = failure(cast("Mapping[str, JSON]", error))
        elif (usage := chunk.get("usage")) is not None:
            self._usage = _usage(cast("Mapping[str, int]", usage))
        elif choices := cast("list[Mapping[str, JSON]]", chunk.get("choices")):
            self._reason = cast("FinishReason | None", choices[0]["finish_reason"])
            delta = cast("Mapping[str, str | None]", choices[0]["delta"])
            if text := delta.get("content"):
                self._say(text)
        return self._outbox.is_closed or self._error is not None

    def _say(self, text: str) -> None:
        if self._is_bound:
            if not self._texts and text[0] not in '{["-0123456789tfn':
                self._error = failures.schema_refused(_UNBOUND)
                return
            self._texts.append(text)
        self._outbox.put(text)

    def _outcome(self) -> Finished | ServiceError:
        if self._error is not None:
            return self._error
        if self._reason is None or self._usage is None:
            return failures.engine_failed("it stopped without saying why")
        if self._is_bound and self._reason == "stop" and not _is_json("".join(self._texts)):
            return failures.schema_refused(_UNBOUND)
        return Finished(self._reason, self._usage)


def failure(error: Mapping[str, JSON]) -> ServiceError:
    """What llama.cpp says went wrong, as the port has it."""
    if error.get("type") == "exceed_context_size_error":
        sizes = cast("Mapping[str, int]", error)
        return failures.window_exceeded(sizes["n_prompt_tokens"], sizes["n_ctx"])
    return failures.engine_failed(str(error.get("message", error)))


def _usage(usage: Mapping[str, int]) -> Usage:
    details = cast("Mapping[str, Mapping[str, int]]", usage).get("prompt_tokens_details", {})
    return Usage(
        usage["prompt_tokens"], usage["completion_tokens"], details.get("cached_tokens", 0)
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
