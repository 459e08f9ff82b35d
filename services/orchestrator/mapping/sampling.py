"""How a model is to choose tokens, protobuf to domain and back. Pure."""

from runplane.type.v1 import usage_pb2

from services.orchestrator.domain import events as ev
from services.orchestrator.domain.request import MAX_STOPS


def read_sampling(message: usage_pb2.Sampling) -> ev.Sampling:
    """How the model is to choose tokens."""
    return ev.Sampling(
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        stop=tuple(message.stop[: MAX_STOPS + 1]),
        seed=message.seed if message.HasField("seed") else None,
    )


def sampling(of: ev.Sampling) -> usage_pb2.Sampling:
    """How the model is to choose tokens."""
    return usage_pb2.Sampling(
        temperature=of.temperature,
        top_p=of.top_p,
        max_tokens=of.max_tokens,
        stop=of.stop,
        seed=of.seed,
    )
