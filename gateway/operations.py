"""The edge's own answers: what this is, whether it lives, whether it can work."""

import asyncio
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.exchange import Exchange
from gateway.traffic import Traffic
from services.chassis.context import VERSIONS

_PROBE_SECONDS: Final = 1.0
_STATES: Final = health_pb2.HealthCheckResponse


class Own:
    """An answer that no service gives."""

    service = ""
    route = ""


class About(Own):
    """`GET /`."""

    route = "/"

    def __init__(self, routes: list[str]) -> None:
        try:
            release = version("runplane")
        except PackageNotFoundError:  # Run from a checkout that is not installed.
            release = "unknown"
        self._body = json.dumps(
            {
                "name": "runplane",
                "version": release,
                "protocol_versions": VERSIONS,
                "health": "/healthz",
                "readiness": "/readyz",
                "description": "/openapi.json",
                "docs": "/docs",
                "routes": routes,
            }
        ).encode()

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Say what this is."""
        await exchange.answer(200, self._body)


class Alive(Own):
    """`GET /healthz`: the process runs."""

    route = "/healthz"

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Say so."""
        await exchange.answer(200, b'{"status": "ok"}')


class Ready(Own):
    """`GET /readyz`: whether every service behind the edge serves."""

    route = "/readyz"

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], traffic: Traffic) -> None:
        self._stubs = {name: health_pb2_grpc.HealthStub(each) for name, each in channels.items()}
        self._traffic = traffic

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Ask all of them at once."""
        states = await asyncio.gather(*map(_state, self._stubs.values()))
        services = dict(zip(self._stubs, states, strict=True))
        is_ready = all(state == "serving" for state in states) and not self._traffic.is_stopping
        status = "ready" if is_ready else "stopping" if self._traffic.is_stopping else "not_ready"
        body = json.dumps({"status": status, "services": services}).encode()
        if is_ready:
            await exchange.answer(200, body)
        else:
            await exchange.answer(503, body, (b"retry-after", b"1"))


async def _state(stub: "health_pb2_grpc.HealthStub") -> str:
    """A service's state, as one lower-case word."""
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name.lower())
    return str(_STATES.ServingStatus.Name(answer.status).lower())
