"""Tools of an OpenAPI document, called at a real server."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from services.chassis.errors import Aborted, InvalidArgument
from services.tool_registry.adapters.http_tool import HttpTools
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.openapi.tools import Wanted
from services.tool_registry.domain.targets import HttpAuth
from services.tool_registry.domain.tool import Entry, ToolFailure
from services.tool_registry.ports import Invocation
from services.tool_registry.usecases.documents import Documents, Imported
from tests.integration.tool_registry.hosts import listening, said
from tests.integration.tool_registry.http_targets import (
    JSON,
    KEY,
    LIMIT,
    LOOPBACK,
    STORED,
    answered,
)

CALLER = Caller("default", "local")
PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string"},
        "born": {"type": "string", "nullable": True},
    },
}
REF = {"$ref": "#/components/schemas/Pet"}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
KINDS = {"name": "kind", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}


def _answer(schema: Mapping[str, object]) -> Mapping[str, object]:
    return {"200": {"content": {"application/json": {"schema": schema}}}}


PETS = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "/api"}],
    "security": [{"key": []}],
    "components": {"schemas": {"Pet": PET}},
    "paths": {
        "/pets": {
            "get": {
                "operationId": "list",
                "parameters": [KINDS],
                "responses": _answer({"type": "array", "items": REF}),
            },
            "post": {
                "operationId": "add",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": REF}},
                },
                "responses": _answer(REF),
            },
        },
        "/pets/{id}": {
            "parameters": [ID],
            "get": {"operationId": "get", "responses": _answer(REF)},
            "delete": {"operationId": "remove", "responses": {"204": {}}},
        },
        "/photo": {
            "post": {
                "requestBody": {"required": True, "content": {"image/png": {}}},
                "responses": {},
            }
        },
    },
}


@dataclass
class Shop:
    """A server of that document. It wants the key, and knows what it was asked."""

    asked: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        while not reader.at_eof():
            head, _, body = (await said(reader)).partition(b"\r\n\r\n")
            line = head.split(b"\r\n")[0].decode().removesuffix(" HTTP/1.1")
            self.asked.append(f"{line} {body.decode()}".strip())
            has_key = f"X-Api-Key: {KEY}".encode() in head
            writer.write(self._answer(line, body) if has_key else answered("", status="401 No"))

    def _answer(self, line: str, body: bytes) -> bytes:
        rex = {"id": 1, "name": "Rex", "born": None}
        if line.startswith("GET /api/pets/"):
            return answered(json.dumps(rex | {"id": "odd"} if line.endswith("/7") else rex), JSON)
        if line.startswith("GET"):
            return answered(json.dumps([rex]), JSON)
        if line.startswith("POST"):
            return answered(json.dumps(rex | json.loads(body)), JSON)
        return answered("", status="204 No Content")


@dataclass(frozen=True)
class Record:
    """What became of what was brought: all was registered."""

    outcomes: Mapping[str, str]
    versions: Mapping[str, str]
    skipped: Mapping[str, str]
    others: Sequence[str] = ()


@dataclass
class Recorder:
    """Takes all tools but one called `pets__add`, and keeps them in memory."""

    brought: list[tuple[Caller, str]] = field(default_factory=list)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    others: Sequence[str] = ()

    async def bring(self, caller: Caller, source: str, wanted: Sequence[Entry]) -> Record:
        """Take them."""
        self.brought.append((caller, source))
        gone = self.entries.keys() - {each.definition.name for each in wanted}
        self.entries = {each.definition.name: each for each in wanted}
        taken = [name for name in self.entries if name not in self.refused]
        return Record(
            dict.fromkeys(taken, "registered") | dict.fromkeys(gone, "removed"),
            dict.fromkeys(taken, "1.0.0"),
            dict.fromkeys(self.refused, "its name is taken"),
            self.others,
        )


async def imported(registry: Recorder, port: int = 80, **about: object) -> Sequence[Imported]:
    """The document, imported for a server on this port."""
    wanted = Wanted(
        "pets",
        base_url=f"http://127.0.0.1:{port}/api",
        auth=HttpAuth("header", "key", "X-Api-Key"),
    )
    return await Documents(registry).openapi(CALLER, {**PETS, **about}, wanted)


@pytest.mark.parametrize(
    ("tool", "arguments", "asked", "value"),
    [
        ("list", {"kind": ["cat", "dog"]}, "GET /api/pets?kind=cat&kind=dog", "Rex"),
        ("get", {"id": 1}, "GET /api/pets/1", "Rex"),
        ("add", {"body": {"name": "Mia"}}, 'POST /api/pets {"name":"Mia"}', "Mia"),
        ("remove", {"id": 1}, "DELETE /api/pets/1", None),
    ],
)
async def test_each_operation_can_be_called(
    tool: str, arguments: Mapping[str, object], asked: str, value: str | None
) -> None:
    shop, registry = Shop(), Recorder()
    async with (
        asyncio.timeout(5),
        listening(shop) as port,
        HttpTools(LOOPBACK, STORED, result_bytes=LIMIT) as tools,
    ):
        await imported(registry, port)
        entry = await tools.checked(registry.entries[f"pets__{tool}"], "default")
        answer = (await tools.made(entry, "default").call(Invocation(arguments))).value

    assert shop.asked == [asked]
    assert entry.definition.input_schema.violations(arguments) == []
    assert entry.definition.output_schema.violations(answer) == []
    assert value is None or value in json.dumps(answer)


async def test_a_secret_that_is_wrong_is_told_as_such() -> None:
    registry = Recorder()
    async with (
        asyncio.timeout(5),
        listening(Shop()) as port,
        HttpTools(LOOPBACK, STORED, result_bytes=LIMIT) as tools,
    ):
        await imported(registry, port, security=[])
        made = tools.made(registry.entries["pets__list"], "default")
        with pytest.raises(ToolFailure) as caught:
            await made.call(Invocation({}))

    assert caught.value.reason == "HTTP_STATUS"
    assert "secret" in caught.value.suggested_fix


async def test_an_import_says_what_became_of_each_operation() -> None:
    registry = Recorder(refused=frozenset({"pets__add"}))
    found = await imported(registry)

    assert registry.brought == [(CALLER, "openapi:pets")]
    assert [(each.operation, each.tool_name, each.outcome) for each in found] == [
        ("list", "pets__list", "registered"),
        ("add", "", "skipped"),
        ("get", "pets__get", "registered"),
        ("remove", "pets__remove", "registered"),
        ("POST /photo", "", "skipped"),
    ]
    assert found[1].reason == "its name is taken"
    assert "image/png" in found[4].reason


async def test_an_import_says_which_tools_it_removed() -> None:
    registry = Recorder()
    await imported(registry)

    found = await imported(registry, paths={"/pets": PETS["paths"]["/pets"]})  # type: ignore[index] # A mapping.

    assert [(each.operation, each.tool_name, each.outcome) for each in found] == [
        ("list", "pets__list", "registered"),
        ("add", "pets__add", "registered"),
        ("", "pets__get", "removed"),
        ("", "pets__remove", "removed"),
    ]


async def test_a_document_without_any_tool_changes_nothing() -> None:
    registry = Recorder()

    with pytest.raises(InvalidArgument) as caught:
        await imported(registry, paths={"/photo": PETS["paths"]["/photo"]})  # type: ignore[index] # A mapping.

    assert caught.value.reason == "OPENAPI_INVALID"
    assert registry.brought == []


async def test_an_import_beside_another_is_told_to_be_repeated() -> None:
    with pytest.raises(Aborted) as caught:
        await imported(Recorder(others=("pets__other",)))

    assert caught.value.reason == "TOOL_VERSION_CONFLICT"
    assert caught.value.metadata["tool"] == "pets__other"
