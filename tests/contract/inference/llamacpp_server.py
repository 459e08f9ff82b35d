"""llama.cpp's own HTTP server, with the model that comes as a wheel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xllamacpp import CommonParams, Server

from services.inference.engines.model_file import located

KEY = "sk-llama-cpp-0123456789"


@asynccontextmanager
async def llamacpp_server(
    slots: int, context_tokens: int, *, is_embedding: bool = False
) -> AsyncIterator[str]:
    """The URL of a server that takes this key only."""
    params = CommonParams()
    params.model.path = str(located(None, None).path)
    params.n_parallel = slots
    params.n_ctx = context_tokens * slots
    params.n_batch = params.n_ubatch = 128
    params.api_keys = [KEY]
    params.n_threads_http = 2 * slots + 4
    params.embedding = is_embedding
    params.verbosity = 0
    server = await asyncio.to_thread(Server, params)
    yield f"{server.listening_address}/v1"
    del server
