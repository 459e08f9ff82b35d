"""vLLM's own OpenAI server, in the environment that `make test-vllm` makes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.servers.ports import reserved

KEY = "sk-vllm-0123456789"


@asynccontextmanager
async def vllm_server(slots: int, context_tokens: int) -> AsyncIterator[str]:
    """The URL of a server that takes this key only. It takes half a minute to answer."""
    with reserved(1) as port:
        options = {
            "--model": os.environ["RUNPLANE_TEST_VLLM_MODEL"],
            "--served-model-name": "smollm2",
            "--host": "127.0.0.1",
            "--port": str(port),
            "--api-key": KEY,
            "--dtype": "bfloat16",
            "--max-model-len": str(context_tokens),
            "--max-num-seqs": str(slots),
        }
        words = [word for option in options.items() for word in option]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            *words,
            "--enforce-eager",
            "--disable-uvicorn-access-log",
            env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
        )
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()
