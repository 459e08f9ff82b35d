"""The whole list of tools, asked for three ways: at the registry, through the edge, over MCP."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, TypeAlias
from urllib.parse import quote

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from benchmarks.load import mcp
from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Answer, Connection, connect, request
from benchmarks.load.job import JSON, Job, Report

_PAGE: Final = 1000
_TIMEOUT: Final = 30
_MEBIBYTES: Final = 64 * 1024 * 1024
_WARM_UP: Final = 2

Listed: TypeAlias = tuple[float, int, int]
"""Seconds, tools and pages."""


async def run(job: Job) -> Report:
    """`job.count` times each. `job.options`: how many `tools` there are at least."""
    connection = await connect(job.address)
    options = [("grpc.max_receive_message_length", _MEBIBYTES)]
    seconds: dict[str, list[float]] = {}
    pages: dict[str, JSON] = {}
    errors: Counter[str] = Counter()
    began = perf_counter()
    async with grpc.aio.insecure_channel(job.target, options=options) as channel:
        ways: dict[str, Callable[[], Awaitable[Listed]]] = {
            "registry": lambda: _registry(pb_grpc.ToolRegistryServiceStub(channel)),
            "edge": lambda: _edge(connection, job.address),
            "mcp": lambda: _mcp(connection, job.address),
        }
        for way, listed in ways.items():
            seconds[way] = []
            try:
                for turn in range(-_WARM_UP, job.count):
                    took, tools, pages[way] = await listed()
                    if tools < int(str(job.options["tools"])):
                        errors[f"{way}: {tools} tools"] += 1
                    elif turn >= 0:
                        seconds[way].append(took)
            except RuntimeError as error:
                errors[f"{way}: {error}"] += 1
    connection.close()
    return {
        "count": job.count,
        "seconds": perf_counter() - began,
        "errors": dict(errors),
        "pages": pages,
        **{way: summary_ms(each) for way, each in seconds.items()},
    }


async def _registry(stub: "pb_grpc.ToolRegistryServiceAsyncStub") -> Listed:
    began, tools, pages, token = perf_counter(), 0, 0, ""
    while pages == 0 or token:
        asked = pb.ListToolsRequest(page_size=_PAGE, page_token=token)
        page = await stub.ListTools(asked, timeout=_TIMEOUT)
        tools, pages, token = tools + len(page.tools), pages + 1, page.next_page_token
    return perf_counter() - began, tools, pages


async def _edge(connection: Connection, address: str) -> Listed:
    took, tools, pages, token = 0.0, 0, 0, ""
    while pages == 0 or token:
        after = f"&page_token={quote(token)}" if token else ""
        path = f"/v1/tools?page_size={_PAGE}{after}"
        answer = await connection.ask(request(address, path, None))
        page = _read(answer)
        tools, token = tools + len(page["tools"]), str(page.get("next_page_token", ""))
        took, pages = took + answer.ended - answer.began, pages + 1
    return took, tools, pages


async def _mcp(connection: Connection, address: str) -> Listed:
    took, tools, pages, cursor = 0.0, 0, 0, ""
    while pages == 0 or cursor:
        more: dict[str, JSON] = {"cursor": cursor} if cursor else {}
        asked = mcp.body("tools/list", **more)
        answer = await connection.ask(request(address, mcp.PATH, asked, mcp.headers("tools/list")))
        page = _read(answer)["result"]
        tools, cursor = tools + len(page["tools"]), str(page.get("nextCursor") or "")
        took, pages = took + answer.ended - answer.began, pages + 1
    return took, tools, pages


def _read(answer: Answer) -> "dict[str, list[JSON]]":
    """The JSON of an answer; its head and the sizes of chunks are not."""
    _, _, content = answer.content.partition(b"\r\n\r\n")
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {content[:300].decode(errors='replace')}")
    found: dict[str, list[JSON]] = json.loads(content)
    return found
