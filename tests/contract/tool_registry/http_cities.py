"""A tool whose target is a real HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.tool_registry.adapters.http.tool import HttpTool, HttpTools
from services.tool_registry.app import utc_now
from services.tool_registry.domain.targets import Http
from services.tool_registry.domain.tool import Example
from tests.integration.tool_registry.hosts import listening, said
from tests.unit.tool_registry.entries import TEXT, entry

COUNTRIES = {"Paris": "France", "Oslo": "Norway"}
EXAMPLES = tuple(
    Example(f"Where is {city}?", {"city": city}, country) for city, country in COUNTRIES.items()
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers `GET /cities/{city}` with `{"country": …}`."""
    while not reader.at_eof():
        path = (await said(reader)).split(b" ")[1].decode()
        body = json.dumps({"country": COUNTRIES[path.rpartition("/")[2]]})
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}".encode())


@asynccontextmanager
async def http_tool() -> AsyncIterator[HttpTool]:
    """The tool, while its server runs."""
    egress = Egress(Allowed.parsed("127.0.0.1/32"))
    async with (
        listening(serve) as port,
        HttpTools(egress, StoredSecrets(None, {}), result_bytes=10_000, now=utc_now) as tools,
    ):
        target = Http("GET", f"http://127.0.0.1:{port}/cities/{{city}}", result="/country")
        schema = {"type": "object", "properties": {"city": TEXT}, "required": ["city"]}
        made = entry(target, schema, output=TEXT, examples=EXAMPLES)
        yield tools.made(await tools.checked(made, "default"), "default")
