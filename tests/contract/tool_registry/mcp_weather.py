"""A tool of a real MCP server, the example's: over HTTP, and as a program."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from services.tool_registry.domain.server import Command
from services.tool_registry.ports import Tool
from tests.integration.tool_registry.mcp_server import over_http
from tests.integration.tool_registry.world import world

SCRIPT = Path(__file__).parents[3] / "examples" / "weather" / "server.py"


@asynccontextmanager
async def mcp_http_tool() -> AsyncIterator[Tool]:
    """The tool, while its server is served here."""
    async with over_http(_example().server) as url, _registered(url) as tool:
        yield tool


@asynccontextmanager
async def mcp_program_tool() -> AsyncIterator[Tool]:
    """The tool, while its server runs as a program."""
    async with _registered(Command(sys.executable, (str(SCRIPT),))) as tool:
        yield tool


@asynccontextmanager
async def _registered(where: str | Command) -> AsyncIterator[Tool]:
    async with world() as here:
        await here.register("weather", where)
        yield here.tool("weather__weather_query")


def _example() -> Any:
    """The example as a module; its folder is no package."""
    spec = spec_from_file_location("weather_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
