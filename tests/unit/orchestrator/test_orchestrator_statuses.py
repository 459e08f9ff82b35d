from services.chassis.hotstore.memory import MemoryHotStore
from services.orchestrator.adapters.statuses import MOST_BYTES, HotStatuses


async def test_a_status_is_found_by_its_tenant_alone() -> None:
    statuses = HotStatuses(MemoryHotStore())
    await statuses.keep("a", "b/task_1", b"ended")

    assert await statuses.find("a", "b/task_1") == b"ended"
    assert await statuses.find("a/b", "task_1") is None
    assert await statuses.find("b", "b/task_1") is None


async def test_what_is_long_is_not_kept() -> None:
    statuses = HotStatuses(MemoryHotStore())
    await statuses.keep("a", "task_1", b"x" * (MOST_BYTES + 1))

    assert await statuses.find("a", "task_1") is None
    assert await statuses.find("a", "task_" + "1" * 100) is None
