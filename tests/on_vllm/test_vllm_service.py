"""The inference service with vLLM as a process: how it starts, drains and dies."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import httpx2
import psutil
import pytest
from runplane.inference.v1 import inference_pb2 as pb
from runplane.inference.v1 import inference_pb2_grpc as pb_grpc

from services.chassis.status import status_of
from tests.contract.inference.engines import ON_A_CPU
from tests.e2e.running import is_alive
from tests.on_vllm.inputs import MODEL
from tests.servers.ports import free

START_SECONDS = 100
LONG = pb.GenerateRequest(
    messages=[{"role": "user", "content": "Tell a very long story."}],
    sampling={"max_tokens": 60, "temperature": 1.0},
)


@dataclass(frozen=True)
class Service:
    """A process that is ready."""

    process: asyncio.subprocess.Process
    client: pb_grpc.InferenceServiceStub
    admin: httpx2.AsyncClient

    def computing(self) -> list[psutil.Process]:
        """The processes of vLLM."""
        return psutil.Process(self.process.pid).children(recursive=True)


async def iterated(call: grpc.aio.UnaryStreamCall) -> AsyncIterator[pb.StreamGenerateResponse]:
    """What is left of a stream that was begun with `read`."""
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message


async def exhausted(call: grpc.aio.UnaryStreamCall) -> list[pb.StreamGenerateResponse]:
    return [message async for message in iterated(call)]


def settings(**more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("INFERENCE_")},
        "RUNPLANE_PAGE_TOKEN_KEY": "ab" * 32,
        "INFERENCE_ENGINE": "vllm",
        "INFERENCE_VLLM__MODEL": str(MODEL),
        "INFERENCE_VLLM__CONTEXT_TOKENS": "1024",
        "INFERENCE_VLLM__SLOTS": "4",
        "INFERENCE_VLLM__ARGUMENTS": json.dumps(ON_A_CPU),
        "INFERENCE_SERVER__GRACE": "60",
        **more,
    }


@asynccontextmanager
async def serving(**more: str) -> AsyncIterator[Service]:
    address, admin = f"127.0.0.1:{free()}", f"127.0.0.1:{free()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.inference"),
        env=settings(INFERENCE_SERVER__LISTEN=address, INFERENCE_SERVER__ADMIN=admin, **more),
        stderr=subprocess.PIPE,
        limit=2**24,
    )
    try:
        async with (
            grpc.aio.insecure_channel(address) as channel,
            httpx2.AsyncClient(base_url=f"http://{admin}", trust_env=False) as http,
        ):
            service = Service(process, pb_grpc.InferenceServiceStub(channel), http)
            await ready(service)
            yield service
    finally:
        if process.returncode is None:
            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                each.kill()


async def ready(service: Service) -> None:
    async with asyncio.timeout(START_SECONDS):
        while not await is_ready(service):
            assert service.process.returncode is None, await service.process.stderr.read()
            await asyncio.sleep(0.1)


async def is_ready(service: Service) -> bool:
    try:
        return (await service.admin.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def ended(service: Service) -> tuple[int, list[str]]:
    """The exit code, and the lines that the process itself logged."""
    async with asyncio.timeout(30):
        said = (await service.process.communicate())[1].decode()
    return service.process.returncode, [
        line for line in said.splitlines() if line.startswith(("{", "inference:"))
    ]


async def gone(processes: list[psutil.Process]) -> None:
    async with asyncio.timeout(30):
        while any(is_alive(each.pid) for each in processes):  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.1)


async def test_a_dead_engine_fails_its_streams_and_ends_the_process() -> None:
    async with serving() as service:
        call = service.client.StreamGenerate(LONG)
        await call.read()
        computing = service.computing()

        for each in computing:
            each.kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(exhausted(call), 10)
        code, lines = await ended(service)

    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert status_of(caught.value).details[0].value.count(b"ENGINE_FAILED")
    assert code == 1
    assert lines[-1].startswith("inference: the engine failed")
    assert any('"engine dead, stopping"' in line for line in lines)


async def test_what_is_under_way_ends_before_the_process_does() -> None:
    async with serving() as service:
        page = (await service.admin.get("/metrics")).text
        computing = service.computing()
        call = service.client.StreamGenerate(LONG)
        await call.read()

        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            messages = await exhausted(call)
        code, _ = await ended(service)

    assert messages[-1].type == "complete"
    assert code == 0
    assert 'vllm:num_requests_running{engine="vllm",model_name="smollm2-135m-instruct"} 0' in page
    await gone(computing)


async def test_nobody_computes_for_a_process_that_was_killed() -> None:
    async with serving() as service:
        computing = service.computing()

        service.process.kill()
        await service.process.wait()
        await gone(computing)

    assert len(computing) >= 2


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"INFERENCE_VLLM__MODEL": "/nowhere"}, 1, "INFERENCE_VLLM__MODEL"),
        ({"INFERENCE_VLLM__CONTEXT_TOKENS": "100000"}, 1, "INFERENCE_VLLM__CONTEXT_TOKENS"),
        ({"INFERENCE_VLLM__SLOTS": "many"}, 2, "INFERENCE_VLLM__SLOTS"),
        ({"INFERENCE_VLLM__LORA": '{"a": "/nowhere"}'}, 1, "INFERENCE_VLLM__LORA"),
        ({"INFERENCE_VLLM__ARGUMENTS": '{"no_such": 1}'}, 1, "no_such"),
    ],
    ids=["no folder", "too long", "bad number", "no adapter", "no argument"],
)
async def test_a_start_that_cannot_be_names_the_setting(
    wrong: dict[str, str], status: int, told: str
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.inference"],
        env=settings(INFERENCE_SERVER__LISTEN="127.0.0.1:0") | wrong,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == status
    assert told in done.stderr.splitlines()[-1]
