"""What the orchestrator measures, and its names."""

from services.chassis.metrics import Figure
from services.orchestrator.domain.caching import CacheCounts


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
