"""How many tokens a text has, by the upstream's own tokenizer where it has one.

Where it has none, there is an upper bound: tokenizers of today make at most one token of a byte.
"""

from collections.abc import Mapping
from typing import Final

from services.inference.domain.request import JSON, Request
from services.inference.engines import failures
from services.inference.engines.openai_http import body as bodies
from services.inference.engines.openai_http.faults import RefusedError
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.wire import Wire

MESSAGE_TOKENS: Final = 8
"""That a template puts around a message, at most."""


async def prompt_tokens(wire: Wire, upstream: Upstream, request: Request) -> int:
    """Tokens of a prompt, or at most so many.

    Raises:
        Unavailable: `ENGINE_FAILED`.
    """
    try:
        match upstream.dialect.extra:
            case "vllm":
                return await _by_vllm(wire, bodies.conversation(request, upstream))
            case "llamacpp":
                prompt = await rendered(wire, upstream, request)
                return len(await tokenized(wire, prompt, is_whole=True))
        return at_most(request)
    except RefusedError as error:
        raise wire.fault(error.refused) from None


def at_most(request: Request) -> int:
    """An upper bound of a prompt's tokens."""
    texts = [each.content for each in request.messages] + [request.prefix]
    return sum(map(at_most_of, texts))


def at_most_of(text: str) -> int:
    """An upper bound of a text's tokens."""
    return len(text.encode()) + MESSAGE_TOKENS


async def window(wire: Wire, upstream: Upstream) -> int | None:
    """The model's window, if the upstream tells.

    Raises:
        RefusedError, Unavailable: it does not answer as it should.
    """
    if upstream.dialect.extra == "llamacpp":
        settings = (await wire.ask("GET", "/props", root=True)).get("default_generation_settings")
        return _int(settings, "n_ctx")
    listed = (await wire.ask("GET", "/models")).get("data")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and each.get("id") == upstream.model:
            return _int(each, upstream.dialect.lists_window)
    return None


async def _by_vllm(wire: Wire, conversation: Mapping[str, JSON]) -> int:
    answer = await wire.ask("POST", "/tokenize", conversation, root=True)
    return _sure(_int(answer, "count"))


async def rendered(wire: Wire, upstream: Upstream, request: Request) -> str:
    """The prompt that llama.cpp's template makes.

    Raises:
        RefusedError: the upstream refuses it.
        Unavailable: `ENGINE_FAILED`.
    """
    turns = {"messages": bodies.conversation(request, upstream)["messages"]}
    prompt = (await wire.ask("POST", "/apply-template", turns, root=True)).get("prompt")
    if not isinstance(prompt, str):
        raise failures.engine_failed("the upstream fills its template in a way that is not known")
    return prompt


async def tokenized(wire: Wire, text: str, *, is_whole: bool) -> list[int]:
    """A text's tokens by llama.cpp; of a whole prompt, with those that begin one.

    Raises:
        RefusedError, Unavailable: as `rendered`.
    """
    asked: dict[str, JSON] = {"content": text, "add_special": is_whole, "parse_special": True}
    found = (await wire.ask("POST", "/tokenize", asked, root=True)).get("tokens")
    tokens = [each for each in found if isinstance(each, int)] if isinstance(found, list) else None
    if tokens is None:
        raise failures.engine_failed("the upstream counts tokens in a way that is not known")
    return tokens


async def text_tokens(wire: Wire, upstream: Upstream, text: str) -> int:
    """Tokens of a text that is no conversation, or at most so many.

    Raises:
        RefusedError, Unavailable: as `rendered`.
    """
    match upstream.dialect.extra:
        case "vllm":
            asked: dict[str, JSON] = {"model": upstream.model, "prompt": text}
            return _sure(_int(await wire.ask("POST", "/tokenize", asked, root=True), "count"))
        case "llamacpp":
            return len(await tokenized(wire, text, is_whole=True))
    return at_most_of(text)


def _sure(count: int | None) -> int:
    if count is None:
        raise failures.engine_failed("the upstream counts tokens in a way that is not known")
    return count


def _int(members: JSON, name: str) -> int | None:
    found = members.get(name) if isinstance(members, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
