"""What is measured of batches, and its names."""

from services.chassis.metrics import Figure
from services.inference.batching.gate import Gate
from services.inference.batching.worker import Worker


def of_batches(worker: Worker, gate: Gate) -> list[Figure]:
    """How much of batches runs in this process, and how often that gave way."""
    return [
        Figure(
            "runplane_inference_batches_running",
            "Batches in this process's hands.",
            lambda: {"": worker.running},
        ),
        Figure(
            "runplane_inference_batch_items_running",
            "Items of batches that have a slot, or are about to.",
            lambda: {"": gate.running},
        ),
        Figure(
            "runplane_inference_batch_items_interrupted",
            "How often an item gave its slot up to somebody who waited.",
            lambda: {"": gate.interrupted},
            is_counter=True,
        ),
    ]
