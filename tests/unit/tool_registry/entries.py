"""Entries of HTTP tools, as tests want them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.chassis.schema import Schema
from services.tool_registry.domain.targets import Http
from services.tool_registry.domain.tool import Definition, Entry, Example

TEXT = {"type": "string", "maxLength": 1000}


def inputs(*names: str, required: Sequence[str] = ()) -> Mapping[str, object]:
    """The schema of an input with these fields of any type."""
    return {
        "type": "object",
        "properties": {name: {} for name in names},
        "required": list(required),
    }


def entry(
    target: Http,
    schema: Mapping[str, object] | None = None,
    *,
    output: Mapping[str, object] | None = None,
    examples: tuple[Example, ...] = (),
) -> Entry:
    """A tool called `city` at a target."""
    definition = Definition(
        name="city",
        version="1.0.0",
        description="Tells what is known of a city, such as its country and its population.",
        input_schema=Schema(schema or inputs("city", required=["city"]), field="input"),
        output_schema=Schema(output or {}, field="output"),
        examples=examples,
        timeout=timedelta(seconds=5),
    )
    return Entry(definition, target)
