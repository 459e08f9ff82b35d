"""llama.cpp's own HTTP server, with the model that comes as a wheel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xllamacpp import CommonParams, Server, llama_pooling_type

from services.inference.engines.llamacpp.model_file import located

KEY = "sk-llama-cpp-0123456789"


def started(slots: int, context_tokens: int, *, is_embedding: bool = False) -> Server:
    """A server that takes this key only. It stops when nothing refers to it any more."""
    params = CommonParams()
    params.model.path = str(located(None, None).path)
    params.n_parallel = slots
    params.n_ctx = context_tokens * slots
    params.n_batch = params.n_ubatch = 128
    params.api_keys = [KEY]
    params.n_threads_http = 2 * slots + 4
    if is_embedding:
        params.embedding = True
        params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = context_tokens  # A text is read as a whole.
    params.verbosity = 0
    return Server(params)


def url(server: Server) -> str:
    """Where it listens."""
    return f"{server.listening_address}/v1"


@asynccontextmanager
async def llamacpp_server(
    slots: int, context_tokens: int, *, is_embedding: bool = False
) -> AsyncIterator[str]:
    """The URL of one."""
    server = await asyncio.to_thread(started, slots, context_tokens, is_embedding=is_embedding)
    yield url(server)
    del server
