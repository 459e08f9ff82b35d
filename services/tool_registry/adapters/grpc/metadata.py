"""What goes along with a request to a gRPC server."""

from typing import TypeAlias

from services.chassis.context import IDEMPOTENCY_KEY
from services.tool_registry.adapters.sending import sendable_key, sendable_secret, trace
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.ports import Secrets

Metadata: TypeAlias = list[tuple[str, str]]


async def secret_of(target: Grpc, secrets: Secrets, tenant: str) -> str:
    """The target's secret, read now; empty if it has none.

    Raises:
        FailedPrecondition: `SECRET_NOT_FOUND`; there is none, or none that can be sent so.
    """
    if not target.secret:
        return ""
    return sendable_secret(await secrets.get(tenant, target.secret), target.secret)


def metadata(target: Grpc, secret: str, *, key: str = "") -> Metadata:
    """What the target declares, the trace, an idempotency key and the secret."""
    pairs = [*target.metadata.items()]
    if key:
        pairs.append((IDEMPOTENCY_KEY, sendable_key(key)))
    pairs += trace().items()
    if secret:
        pairs.append(("authorization", f"Bearer {secret}"))
    return pairs
