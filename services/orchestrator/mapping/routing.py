"""How a task's model was chosen, protobuf to domain and back. Pure."""

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.orchestrator.domain.events import ModelChanged
from services.orchestrator.domain.routed import Routed


def message(of: Routed | None) -> pb.TaskRouting | None:
    """What a route chose, if one did."""
    if of is None:
        return None
    return pb.TaskRouting(
        route=of.route,
        request_class=of.request_class,
        policy=of.policy,
        reason=of.reason,
        models=of.models,
        priority=of.priority,
        hedge_after_ms=of.hedge_after_ms,
        patience_ms=of.patience_ms,
    )


def read(metadata: pb.TaskMetadata) -> Routed | None:
    """What the first event of a log says of it."""
    if not metadata.HasField("routing"):
        return None
    kept = metadata.routing
    return Routed(
        kept.route,
        kept.request_class,
        kept.policy,
        kept.reason,
        tuple(kept.models),
        kept.priority,
        kept.hedge_after_ms if kept.HasField("hedge_after_ms") else None,
        kept.patience_ms if kept.HasField("patience_ms") else None,
    )


def change(event: ModelChanged, error: pb.TaskError | None) -> pb.ModelChange:
    """That another model goes on."""
    return pb.ModelChange(
        from_model=event.before,
        model=event.model,
        model_version=event.version,
        error=error,
    )
