"""What llama.cpp is asked, as the body of an OpenAI chat completion. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.inference.domain.request import JSON, Message, Request
from services.inference.engines.bounds import bounded

_MAX_SEED: Final = 0x7FFF_FFFF  # Above it is llama.cpp's mark for a random one.

# Compact JSON takes half the tokens and half the time of JSON that a small model lays out itself.
# What the grammar cannot express binds nothing, instead of silently unbinding everything.
_GUIDANCE: Final[Mapping[str, JSON]] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
    "coerce_one_of": True,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing."""

    temperature: float
    top_p: float
    max_tokens: int


def body(request: Request, defaults: Defaults, context_tokens: int) -> dict[str, JSON]:
    """The request's body."""
    sampling = request.sampling
    temperature, top_p = sampling.temperature, sampling.top_p
    asked: dict[str, JSON] = {
        "messages": turns(request.messages, request.prefix),
        "max_tokens": min(sampling.max_tokens or defaults.max_tokens, context_tokens),
        "temperature": defaults.temperature if temperature is None else temperature,
        "top_p": defaults.top_p if top_p is None else top_p,
        "stop": list(sampling.stop),
        # Small models say the same again and again; this makes a repetition less likely the
        # longer it gets.
        "dry_multiplier": 0.8,
        "dry_allowed_length": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        # Calls back after each batch of the prompt, so that a cancel need not wait for all of it.
        "return_progress": True,
    }
    if sampling.seed is not None:
        asked["seed"] = sampling.seed & _MAX_SEED
    if request.schema is None:
        # For each, llama.cpp looks through its whole vocabulary before it starts: 3 ms. By itself
        # it takes four, and JSON needs them: it repeats its quotes and colons.
        asked["dry_sequence_breakers"] = ["\n"]
    else:
        asked["grammar"] = grammar(request.schema.document)
    return asked


def turns(messages: Sequence[Message], prefix: str = "") -> list[JSON]:
    """The messages as any chat template takes them.

    Few templates know what a tool is: what it said is the user's. Some insist that user and
    assistant take turns: what one of them says in a row is one turn. A prefix is the last turn:
    llama.cpp leaves an assistant's open, and puts it behind the prompt as it is.
    """
    merged: list[tuple[str, list[str]]] = []
    said = [*messages, Message("assistant", prefix)] if prefix else messages
    for message in said:
        role = "user" if message.role == "tool" else message.role
        if merged and merged[-1][0] == role:
            merged[-1][1].append(message.content)
        else:
            merged.append((role, [message.content]))
    return [{"role": role, "content": "\n\n".join(contents)} for role, contents in merged]


def grammar(schema: Mapping[str, JSON]) -> str:
    """The grammar of compact JSON that matches the schema."""
    return f"%llguidance {{}}\nstart: %json {json.dumps(guided(schema))}"


def guided(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """The schema as llama.cpp can take it, with how its JSON is laid out."""
    return {**bounded(schema), "x-guidance": _GUIDANCE}
