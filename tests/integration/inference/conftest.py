"""The real service in this process, on a real socket."""

from collections.abc import AsyncIterator

import grpc
import pytest
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.settings import ServerSettings, SharedSettings
from services.inference.app import running
from services.inference.settings import EchoSettings, Settings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="ab" * 32)


@pytest.fixture
async def client() -> AsyncIterator[pb_grpc.InferenceServiceStub]:
    """A client of a service with the echo engine, four slots and no queue."""
    settings = Settings(engine="echo", server=LOOPBACK, echo=EchoSettings(slots=4, queue=0))
    async with (
        running(settings, SHARED) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield pb_grpc.InferenceServiceStub(channel)
