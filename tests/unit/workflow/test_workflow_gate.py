"""Large requests are dealt with few at a time."""

import asyncio

from runplane.workflow.v1 import workflow_pb2 as pb

from services.workflow.rpc.gate import AT_ONCE, LARGE, Gate, gated


class Servicer:
    """Deals with a request when it may."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.begun: list[str] = []
        self.small = asyncio.Event()
        self.may = asyncio.Event()

    @gated
    async def deal(self, request: pb.StartWorkflowRequest, context: object) -> str:
        """As an RPC does."""
        self.begun.append(request.definition)
        if request.definition == "small":
            self.small.set()
        await self.may.wait()
        return request.definition


async def test_large_requests_wait_for_one_another_and_small_ones_for_none() -> None:
    servicer = Servicer()
    large = pb.StartWorkflowRequest(definition="large", correlation_id="x" * LARGE)
    small = pb.StartWorkflowRequest(definition="small")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(servicer.deal(large, None)) for _ in range(6)]
        tasks += [group.create_task(servicer.deal(small, None)) for _ in range(6)]
        async with asyncio.timeout(5):
            await servicer.small.wait()
        begun = [*servicer.begun]
        servicer.may.set()

    assert begun.count("large") <= AT_ONCE < 3
    assert servicer.begun.count("large") == servicer.begun.count("small") == 6
