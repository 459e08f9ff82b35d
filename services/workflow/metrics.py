"""What the workflow service measures, and its names."""

from collections.abc import Mapping

from services.chassis.eventbus.inbound import Inbound
from services.chassis.eventlog.backlog import Backlog
from services.chassis.metrics import Figure
from services.workflow.domain.verification import Fault
from services.workflow.verifier import Counts
from services.workflow.worker import Worker


def of_events(backlog: Backlog, inbound: Inbound) -> list[Figure]:
    """How far the event bus and this service are behind each other."""
    return [
        Figure(
            "runplane_workflow_outbox_messages",
            "Messages that the event bus has not been told yet.",
            lambda: backlog.counts,
            label="topic",
        ),
        Figure(
            "runplane_workflow_inbound_lag_messages",
            "Messages from outside that wait to be dealt with.",
            lambda: {"": inbound.lag},
        ),
        Figure(
            "runplane_workflow_inbound_dead_letters",
            "Messages from outside that were set aside.",
            lambda: {"": inbound.dead_letters},
            is_counter=True,
        ),
    ]


def of_worker(worker: Worker, slots: int) -> list[Figure]:
    """How much a worker has to do, and how much it may do at a time."""
    return [
        Figure(
            "runplane_workflow_running",
            "Workflows that are worked on in this process.",
            lambda: {"": worker.running},
        ),
        Figure(
            "runplane_workflow_slots",
            "Workflows that may be worked on in this process at a time.",
            lambda: {"": slots},
        ),
        Figure(
            "runplane_workflow_waiting",
            "Workflows that are due and that no process works on, as this one counted them last.",
            lambda: {"": worker.waiting},
        ),
    ]


def of_verification(counts: Counts) -> list[Figure]:
    """What the verifier did and found."""
    return [
        Figure(
            "runplane_workflow_verified",
            "Workflows that were held against their events.",
            lambda: {"": counts.verified},
            is_counter=True,
        ),
        Figure(
            "runplane_workflow_verification_failures",
            "Verifications that came to nothing, such as for want of the store.",
            lambda: {"": counts.failed},
            is_counter=True,
        ),
        Figure(
            "runplane_workflow_verification_problems",
            "What was found not to be as it should be.",
            lambda: _by_kind(counts.found),
            label="kind",
            is_counter=True,
        ),
        Figure(
            "runplane_workflow_verification_repairs",
            "What of it was repaired.",
            lambda: _by_kind(counts.repaired),
            label="kind",
            is_counter=True,
        ),
        Figure(
            "runplane_workflow_broken",
            "Workflows whose events are not what was recorded.",
            lambda: {"": counts.broken},
        ),
    ]


def _by_kind(found: Mapping[Fault, int]) -> Mapping[str, float]:
    """Every kind, also those that were never found."""
    return {each.value: found.get(each, 0) for each in Fault}
