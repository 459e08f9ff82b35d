"""Who changes a workflow waits for those who came before."""

import asyncio

from services.workflow.usecases.queues import Queues


async def test_a_workflow_is_changed_by_one_at_a_time_and_others_beside_it() -> None:
    queues, order = Queues(), []
    may = asyncio.Event()

    async def change(name: str, number: int) -> None:
        async with queues.turn(("acme", name)):
            order.append((name, number))
            if name == "held":
                await may.wait()

    async with asyncio.TaskGroup() as group, asyncio.timeout(5):
        held = [group.create_task(change("held", number)) for number in range(3)]
        await group.create_task(change("other", 0))
        before = [*order]
        may.set()
        await asyncio.gather(*held)

    assert before == [("held", 0), ("other", 0)]
    assert order[2:] == [("held", 1), ("held", 2)]


async def test_who_is_cancelled_while_waiting_leaves_the_queue() -> None:
    queues = Queues()
    async with asyncio.timeout(5):
        async with queues.turn(("acme", "wf")):
            waiting = asyncio.ensure_future(queues.turn(("acme", "wf")).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with queues.turn(("acme", "wf")):
            entered = True

    assert waiting.cancelled()
    assert entered


async def test_what_is_heavy_is_done_one_at_a_time_with_turns_for_others() -> None:
    queues, order = Queues(), []

    async def heavy(number: int) -> None:
        async with queues.alone():
            order.append(number)

    async def light() -> None:
        await asyncio.sleep(0)
        order.append(-1)

    async with asyncio.timeout(5):
        await asyncio.gather(*map(heavy, range(3)), light())

    assert order == [-1, 0, 1, 2]
