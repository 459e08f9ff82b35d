import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from services.orchestrator.domain.events import Failure, Message, Spec
from services.orchestrator.domain.examples import nearest
from services.orchestrator.domain.prompt import (
    EXCERPT_CHARACTERS,
    Briefing,
    conversation,
    excerpt,
)
from services.orchestrator.domain.task import Call, Step
from services.orchestrator.domain.tool import Example, Tool


def tool(name: str, *examples: Example) -> Tool:
    schema = {"type": "object", "properties": {"expression": {}}}
    return Tool(name, "1.0.0", f"Does {name}.", schema, examples, 1000, is_idempotent=True)


CALCULATOR = tool(
    "calculator", Example("What is 23 * 19?", {"expression": "23*19"}, {"value": 437})
)
CLOCK = tool("current_time", Example("What time is it in Tokyo?", {}, {"time": "14:00"}))
CONVERT = tool("unit_convert", Example("How many miles is 10 km?", {}, {"value": 6.2}))


def asked(query: str, *history: Message) -> Spec:
    return cast(Spec, cast(Any, SimpleNamespace(query=query, history=history, large=())))


def test_the_example_most_like_the_query_stands_last() -> None:
    tools = [CALCULATOR, CLOCK, CONVERT]

    likest = {
        query: nearest(query, tools)[-1].tool
        for query in (
            "What is 12*7?",
            "What time is it in Paris?",
            "How many km is 3 miles?",
            "Hello",
        )
    }

    assert list(likest.values()) == ["calculator", "current_time", "unit_convert", ""]


def test_the_query_is_the_last_thing_a_user_says() -> None:
    history = Message("assistant", "Yes?")

    messages = conversation(asked("What is 12*7?", history), Briefing((CALCULATOR,)), [])

    assert messages[-2:] == [history, Message("user", "What is 12*7?")]


def test_steps_follow_the_query_as_the_model_would_have_said_them() -> None:
    done = Call(
        "call_1", "calculator", {"expression": "12*7"}, output={"value": 84}, latency_ms=1.0
    )
    why = Failure("NOT_FOUND", "TOOL_NOT_FOUND", "no", "walk")
    failed = Call("call_2", "teleport", {}, failure=why)

    messages = conversation(
        asked("12*7?"), Briefing((CALCULATOR,)), [Step("I use it.", (done, failed))]
    )

    said, first, second = messages[-3:]
    assert json.loads(said.content)["tool_calls"][0] == {
        "tool": "calculator",
        "input": {"expression": "12*7"},
    }
    assert (first.role, json.loads(first.content)) == ("tool", {"value": 84})
    assert json.loads(second.content) == {
        "reason": "TOOL_NOT_FOUND",
        "error": "no",
        "suggested_fix": "walk",
    }


def test_without_tools_the_model_is_shown_no_json() -> None:
    messages = conversation(asked("Hi"), Briefing(), [])

    assert [message.role for message in messages] == ["system", "user"]
    assert "{" not in messages[0].content


def test_a_long_result_is_cut_and_says_so() -> None:
    text = excerpt("x" * (EXCERPT_CHARACTERS + 5))

    assert len(text) < EXCERPT_CHARACTERS + 100
    assert "5 characters left out" in text


def test_members_of_objects_stand_in_one_order_whatever_order_they_came_in() -> None:
    """They come in any: that of maps of protobuf is another in each process."""

    def told(*names: str) -> list[Message]:
        given = dict.fromkeys(names, 1)
        schema = {"type": "object", "properties": {name: {} for name in names}, "required": ["to"]}
        example = Example("How far?", given, {"found": given})
        asks = replace(CALCULATOR, input_schema=schema, examples=(example,))
        done = Call("call_1", "calculator", given, output=[given], latency_ms=1.0)
        return conversation(asked("How far?"), Briefing((asks,)), [Step("I use it.", (done,))])

    assert told("from", "value", "to") == told("to", "from", "value")


def test_what_a_tool_requires_is_named_first() -> None:
    schema = {"properties": {name: {} for name in "abcd"}, "required": ["c", "b"]}

    system, *_ = conversation(asked("x"), Briefing((replace(CALCULATOR, input_schema=schema),)), [])

    assert "- calculator(c, b, a, d): " in system.content
