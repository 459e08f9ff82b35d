"""An MCP server that knows the weather, or acts as if: its data never change.

    python examples/weather/server.py              over standard input and output
    python examples/weather/server.py --http 9000  over HTTP, at http://127.0.0.1:9000/mcp

It is what a server of your own may look like, by the official SDK.
"""

import argparse
from difflib import get_close_matches
from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

# Degrees Celsius, the sky, and how sure one is of both.
WEATHER = {
    "Berlin": (18.0, "Cloudy", 0.9),
    "Cairo": (34.5, "Sunny", 0.97),
    "London": (14.5, "Rainy", 0.88),
    "New York": (21.0, "Windy", 0.81),
    "Paris": (22.5, "Sunny", 0.92),
    "Reykjavik": (4.0, "Snowy", 0.77),
    "Sydney": (25.0, "Sunny", 0.93),
    "Tokyo": (27.5, "Humid", 0.86),
}

# Small models call a tool as they have seen it called. Runplane shows them these, which stand in
# the tool's `_meta`; other clients pass them over.
EXAMPLES = [
    {
        "query": "What is the weather in Paris?",
        "input": {"location": "Paris", "unit": "celsius"},
        "output": {"temperature": 22.5, "condition": "Sunny", "confidence": 0.92},
    },
    {
        "query": "How warm is it in Tokyo, in fahrenheit?",
        "input": {"location": "Tokyo", "unit": "fahrenheit"},
        "output": {"temperature": 81.5, "condition": "Humid", "confidence": 0.86},
    },
]

server = MCPServer("weather", version="1.0.0")


class Weather(BaseModel):
    """The weather at a place."""

    temperature: float = Field(description="In the unit that was asked for.")
    condition: str = Field(description="The sky, in a word.")
    confidence: float = Field(ge=0, le=1, description="How sure this is.")


@server.tool(
    title="Weather",
    annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True),
    meta={"dev.runplane/examples": EXAMPLES},
)
def weather_query(
    location: Annotated[str, Field(max_length=100, description="A city, such as Paris.")],
    unit: Literal["celsius", "fahrenheit"] = "celsius",
) -> Weather:
    """Tell the weather in a city: temperature and sky. Use it for questions about the weather."""
    known = {name.lower(): name for name in WEATHER}
    name = known.get(location.strip().lower())
    if name is None:
        close = get_close_matches(location.strip().lower(), known, 3)
        ask = ", ".join(known[each] for each in close) or ", ".join(WEATHER)
        raise ToolError(f"there is no weather for {location!r}; ask for {ask}")
    celsius, condition, confidence = WEATHER[name]
    temperature = celsius if unit == "celsius" else round(celsius * 9 / 5 + 32, 1)
    return Weather(temperature=temperature, condition=condition, confidence=confidence)


@server.resource("weather://locations", mime_type="text/plain")
def locations() -> str:
    """The cities that have weather."""
    return "\n".join(WEATHER)


def main() -> None:
    """Serve until standard input ends, or the process is."""
    parser = argparse.ArgumentParser(description="An MCP server that knows the weather.")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve http://127.0.0.1:PORT/mcp")
    port = parser.parse_args().http
    if port is None:
        server.run()
    else:
        server.run("streamable-http", port=port)


if __name__ == "__main__":
    main()
