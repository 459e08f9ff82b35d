"""Requests to an engine, and what comes of them."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta

from services.chassis.schema import Schema
from services.inference.domain.generation import Finished
from services.inference.domain.request import JSON, Message, Request, ResponseSchema, Sampling
from services.inference.ports import Engine

AT_ONCE = timedelta(0)
NEVER = timedelta(hours=1)


def asking(engine: Engine, text: str, schema: JSON = None, **sampling: object) -> Request:
    bound = (
        ResponseSchema(schema, Schema(schema, field="response_schema").violations)
        if isinstance(schema, dict)
        else None
    )
    model = engine.models()[0].name
    return Request(model, (Message("user", text),), Sampling(**sampling), bound)


async def answer(
    engine: Engine, request: Request, pace: timedelta = AT_ONCE
) -> tuple[list[str], Finished]:
    async with asyncio.timeout(60), aclosing(engine.generate(request, pace=pace)) as pieces:
        *texts, end = [piece async for piece in pieces]
    assert isinstance(end, Finished)
    return [*texts, end.text] if end.text else texts, end


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what an engine's numbers say: the port has no events."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)  # What still computes gives way to who never rests.


async def idle(engine: Engine) -> None:
    await until(lambda: not engine.active)
