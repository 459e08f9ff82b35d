"""The `unit_convert`: values from one unit of measurement to another."""

import asyncio
from datetime import timedelta
from typing import Final, cast

from services.chassis.schema import Schema
from services.tool_registry.adapters.builtin.units import Units
from services.tool_registry.domain.tool import Definition, Entry, Example
from services.tool_registry.ports import Answer, Invocation

_UNIT: Final = {"type": "string", "minLength": 1, "maxLength": 64}
_NUMBER: Final = {"type": "number", "minimum": -(2**53), "maximum": 2**53}

DEFINITION: Final = Definition(
    name="unit_convert",
    version="1.0.0",
    description=(
        "Converts a value from one unit to another: length, mass, time, temperature, volume, "
        "speed, energy, data. Units are names such as kilometer, pound or kilometer/hour."
    ),
    input_schema=Schema(
        {
            "type": "object",
            "properties": {
                "value": {**_NUMBER, "description": "How many of the unit in from"},
                "from": {**_UNIT, "description": "Unit to convert from, such as mile"},
                "to": {**_UNIT, "description": "Unit to convert to, such as kilometer"},
            },
            "required": ["value", "from", "to"],
            "additionalProperties": False,
        },
        field="input",
    ),
    output_schema=Schema(
        {
            "type": "object",
            "properties": {"value": _NUMBER, "unit": _UNIT},
            "required": ["value", "unit"],
            "additionalProperties": False,
        },
        field="output",
    ),
    examples=(
        Example(
            "How many kilometers are 26.2 miles?",
            {"value": 26.2, "from": "mile", "to": "kilometer"},
            {"value": 42.1648128, "unit": "kilometer"},
        ),
        Example(
            "Convert 30 celsius to fahrenheit.",
            {"value": 30, "from": "celsius", "to": "fahrenheit"},
            {"value": 86, "unit": "fahrenheit"},
        ),
        Example(
            "What is 5 pounds in kilograms?",
            {"value": 5, "from": "pound", "to": "kilogram"},
            {"value": 2.26796185, "unit": "kilogram"},
        ),
    ),
    timeout=timedelta(seconds=5),  # The first call may wait for the units to load.
)


class UnitConvert:
    """A tool. Its units are loaded in a thread, by `warm` or by the first call."""

    entry = Entry(DEFINITION)
    unavailable = ""

    def __init__(self) -> None:
        self._units: Units | None = None
        self._loading = asyncio.Lock()

    async def warm(self) -> None:
        """Load the units, so that the first call is quick."""
        await self._loaded()

    async def call(self, invocation: Invocation) -> Answer:
        """See the definition."""
        arguments = invocation.arguments
        source, target = str(arguments["from"]), str(arguments["to"])
        units = await self._loaded()
        value = units.convert(float(cast("float", arguments["value"])), source, target)
        return Answer({"value": value, "unit": target.strip()})

    async def _loaded(self) -> Units:
        if self._units is None:
            async with self._loading:
                if self._units is None:
                    self._units = await asyncio.to_thread(Units)
        return self._units
