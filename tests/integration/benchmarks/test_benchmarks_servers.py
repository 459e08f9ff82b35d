"""The servers that documents have people start."""

import asyncio
import sys

import pytest


@pytest.mark.parametrize("kind", ["http", "grpc", "mcp"])
async def test_a_server_says_where_it_serves(kind: str) -> None:
    command = [sys.executable, "-m", "benchmarks.servers", kind]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            assert process.stderr is not None
            said = (await process.stderr.readline()).decode()
            host, _, port = (
                said.split(" ")[0].removeprefix("http://").partition("/")[0].rpartition(":")
            )
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()
    finally:
        process.terminate()
        await process.communicate()

    assert said.endswith("serves until Ctrl-C\n")
