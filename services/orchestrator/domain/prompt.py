"""What the model is shown: instructions, tools, examples, the conversation and the steps so far."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from services.orchestrator.domain.events import Message, Spec
from services.orchestrator.domain.examples import SHOWN, Shown, known, nearest
from services.orchestrator.domain.task import Call, Step
from services.orchestrator.domain.tool import Tool

EXCERPT_CHARACTERS: Final = 4000
MARGIN_BYTES: Final = 16  # For what a template puts around a message.

_DIRECT: Final = "You are a helpful agent. Answer the user briefly and truthfully."
_WITH_TOOLS: Final = """\
You are a helpful agent with tools. Reply with one JSON object.
To use tools: {"thought": why, "tool_calls": [{"tool": name, "input": arguments}]}
To answer: {"thought": why, "answer": text for the user}
Use a tool when it can find the answer. After its result, answer.
Tools:
"""


def conversation(spec: Spec, tools: Sequence[Tool], steps: Sequence[Step]) -> list[Message]:
    """The messages of the next turn."""
    shown = list(_steps(steps))
    if not tools:
        start = [Message("system", _DIRECT)]
    else:
        start = [_instructions(tuple(tools))]
        start += chain.from_iterable(map(_exchange, nearest(spec.query, tools)))
    return [*start, *spec.history, Message("user", spec.query), *shown]


def most_bytes(spec: Spec, tools: Sequence[Tool]) -> int:
    """No first turn's prompt is longer than this, a margin for each message included."""
    said = (spec.query, *(message.content for message in spec.history))
    return _most_fixed_bytes(tuple(tools)) + sum(4 * len(text) + MARGIN_BYTES for text in said)


@lru_cache(64)
def _most_fixed_bytes(tools: tuple[Tool, ...]) -> int:
    """Instructions, and the longest examples that may be shown."""
    if not tools:
        return _bytes([Message("system", _DIRECT)])
    lengths = sorted(_bytes(_exchange(shown)) for shown in known(tools))
    return _bytes([_instructions(tools)]) + sum(lengths[-SHOWN:])


def _bytes(messages: Iterable[Message]) -> int:
    return sum(len(message.content.encode()) + MARGIN_BYTES for message in messages)


def _describe(tool: Tool) -> str:
    properties = tool.input_schema.get("properties")
    names = list(properties) if isinstance(properties, Mapping) else []
    return f"- {tool.name}({', '.join(names)}): {tool.description}"


@lru_cache(64)
def _instructions(tools: tuple[Tool, ...]) -> Message:
    return Message("system", _WITH_TOOLS + "\n".join(map(_describe, tools)))


@lru_cache(1024)
def _exchange(shown: Shown) -> Sequence[Message]:
    """A question and its answer, with the tool call and its result between them."""
    return tuple(_exchanged(shown))


def _exchanged(shown: Shown) -> Iterable[Message]:
    example = shown.example
    yield Message("user", example.query)
    if not shown.tool:
        yield Message("assistant", _answer("I need no tool.", str(example.output)))
        return
    call = Call("", shown.tool, example.input, output=example.output, latency_ms=0)
    yield from _step(Step(f"I use {shown.tool}.", (call,)))
    yield Message("assistant", _answer("The tool gave it.", _say(example.output)))


def _answer(thought: str, answer: str) -> str:
    return _dumps({"thought": thought, "answer": answer})


def _say(output: object) -> str:
    if not isinstance(output, Mapping):
        return f"The answer is {output}."
    facts = ", ".join(f"the {key} is {value}" for key, value in list(output.items())[:2])
    return f"{facts[:1].upper()}{facts[1:]}."


def _steps(steps: Sequence[Step]) -> Iterable[Message]:
    for step in steps:
        if step.calls:
            yield from _step(step)


def _step(step: Step) -> Iterable[Message]:
    calls = [{"tool": call.tool, "input": call.input} for call in step.calls]
    yield Message(
        "assistant", _dumps({"thought": step.thought or "I use a tool.", "tool_calls": calls})
    )
    for call in step.calls:
        yield Message("tool", excerpt(_result(call)))


def _result(call: Call) -> str:
    if call.failure is None:
        return _dumps(call.output)
    return _dumps({"error": call.failure.message, "suggested_fix": call.failure.suggested_fix})


def excerpt(text: str) -> str:
    """As much of a text as a model is shown."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return f"{text[:EXCERPT_CHARACTERS]} … ({len(text) - EXCERPT_CHARACTERS} characters left out)"


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
