"""What the orchestrator measures, and its names."""

from collections.abc import Callable, Sequence

from services.chassis.metrics import Figure
from services.orchestrator.domain.balancing import Load
from services.orchestrator.domain.caching import CacheCounts
from services.orchestrator.seen import Seen
from services.orchestrator.worker import Worker


def of_cache(counts: CacheCounts) -> list[Figure]:
    """What came of asking the response cache."""
    return [
        Figure(
            "runplane_orchestrator_cache_hits",
            "Turns that no model was asked for: near (in this process), far (in the hot store), or "
            "shared (with one that a model was just asked for).",
            lambda: dict(counts.hits),
            label="where",
            is_counter=True,
        ),
        Figure(
            "runplane_orchestrator_cache_misses",
            "Turns that might have been cached, and that a model was asked for.",
            lambda: {"": counts.misses},
            is_counter=True,
        ),
        Figure(
            "runplane_orchestrator_cache_kept",
            "Turns that were put into the cache.",
            lambda: {"": counts.kept},
            is_counter=True,
        ),
        Figure(
            "runplane_orchestrator_cache_bytes",
            "What the turns take that are kept in this process, about.",
            lambda: {"": counts.size_bytes},
        ),
        Figure(
            "runplane_orchestrator_cache_entries",
            "Turns that are kept in this process.",
            lambda: {"": counts.entries},
        ),
    ]


def of_routing(seen: Seen, loads: Callable[[], Sequence[Load]]) -> list[Figure]:
    """What becomes of turns beyond their first model, and of replicas."""
    return [
        Figure(
            "runplane_orchestrator_fallbacks",
            "How often another model of a task's route went on, by why the one before could not.",
            lambda: dict(seen.fallbacks),
            label="reason",
            is_counter=True,
        ),
        Figure(
            "runplane_orchestrator_hedges",
            "Turns that a second call was made for, by which call spoke first.",
            lambda: dict(seen.hedges),
            label="winner",
            is_counter=True,
        ),
        Figure(
            "runplane_orchestrator_inference_tokens",
            "What each replica of the inference service was asked for and has not done, about.",
            lambda: {each.address: each.tokens for each in loads()},
            label="replica",
        ),
        Figure(
            "runplane_orchestrator_inference_out",
            "Whether a replica of the inference service is left out for a while: it failed.",
            lambda: {each.address: float(each.is_out) for each in loads()},
            label="replica",
        ),
    ]


def of_worker(worker: Worker, slots: int) -> list[Figure]:
    """How much a worker has to do, and how much it may do at a time."""
    return [
        Figure(
            "runplane_orchestrator_tasks_running",
            "Tasks that run in this process.",
            lambda: {"": worker.load()[0]},
        ),
        Figure(
            "runplane_orchestrator_tasks_queued",
            "Tasks that wait for a place in this process.",
            lambda: {"": worker.load()[1]},
        ),
        Figure(
            "runplane_orchestrator_queue_wait_seconds",
            "How long the task that waits longest for a place in this process has waited.",
            lambda: {"": worker.longest_wait()},
        ),
        Figure(
            "runplane_orchestrator_task_slots",
            "Places for tasks in this process; children of tasks have as many of their own.",
            lambda: {"": slots},
        ),
    ]
