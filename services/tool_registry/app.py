"""The composition root: the only place that names tools."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.adapters.builtin.current_time import CurrentTime
from services.tool_registry.adapters.builtin.unit_convert import UnitConvert
from services.tool_registry.domain.circuit import Policy
from services.tool_registry.ports import Tool
from services.tool_registry.rpc.tools import ToolRegistryServicer
from services.tool_registry.settings import Settings
from services.tool_registry.usecases.calls import Calls, Limits
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.runs import Runs
from services.tool_registry.usecases.shelves import Builtins

DOMAIN: Final = "tool-registry.runplane.dev"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["ToolRegistryService"].full_name


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    settings: Settings,
    shared: SharedSettings,
    *,
    now: Callable[[], datetime] = utc_now,
    more: Sequence[Tool] = (),
) -> AsyncIterator[Running]:
    """Run the service with its built-in tools, and `more`.

    Raises:
        OSError: an address cannot be listened on.
        InvalidArgument: `INVALID_REQUEST`; a tool has a name that none may have.
        NotFound: `TOOL_NOT_FOUND`; an approval is asked for a tool that there is not.
    """
    clock, units = CurrentTime(now), UnitConvert()
    builtin: list[Tool] = [Calculator(), clock, units]
    limits = Limits(**settings.limits.model_dump())
    shelf = Builtins([*builtin, *more])
    for name in settings.approval:
        shelf.get(name)
    circuits = Circuits(
        Policy(**settings.circuit.model_dump()), now=time.monotonic, chance=random.random
    )
    runs = Runs()
    calls = Calls(shelf, limits, circuits, runs, partial(ids.new, "call"))
    pager = Pager(bytes.fromhex(shared.page_token_key.get_secret_value()), "tools")
    servicer = ToolRegistryServicer(shelf, calls, circuits, pager, settings.approval)
    async with (
        runs,
        serving(
            settings.server,
            domain=DOMAIN,
            register=[partial(pb_grpc.add_ToolRegistryServiceServicer_to_server, servicer)],
            services=[SERVICE],
        ) as server,
        asyncio.TaskGroup() as background,
    ):
        warming = [background.create_task(tool.warm()) for tool in (clock, units)]
        yield server
        for task in warming:
            task.cancel()
