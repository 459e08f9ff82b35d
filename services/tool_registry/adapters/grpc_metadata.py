"""What goes along with a request to a gRPC server."""

import re
from typing import Final, TypeAlias
from urllib.parse import quote

from services.chassis.context import IDEMPOTENCY_KEY, TRACE_KEY, child, current
from services.chassis.errors import FailedPrecondition
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.ports import Secrets

Metadata: TypeAlias = list[tuple[str, str]]

_SENDABLE: Final = re.compile(r"[\x20-\x7e]+")
_KEY_CHARACTERS: Final = "".join(map(chr, range(0x21, 0x7F)))


async def secret_of(target: Grpc, secrets: Secrets, tenant: str) -> str:
    """The target's secret, read now; empty if it has none.

    Raises:
        FailedPrecondition: `SECRET_NOT_FOUND`; there is none, or none that can be sent so.
    """
    if not target.secret:
        return ""
    secret = await secrets.get(tenant, target.secret)
    if not _SENDABLE.fullmatch(secret):
        message = f"{target.secret} has characters that metadata cannot have"
        fix = "replace the secret by one in ASCII"
        raise FailedPrecondition(
            "SECRET_NOT_FOUND", message, secret=target.secret, suggested_fix=fix
        )
    return secret


def metadata(target: Grpc, secret: str, *, key: str = "") -> Metadata:
    """What the target declares, the trace, an idempotency key and the secret."""
    pairs = [*target.metadata.items()]
    if key:
        pairs.append((IDEMPOTENCY_KEY, quote(key, safe=_KEY_CHARACTERS)))
    if (here := current.get(None)) is not None:
        pairs += [pair for pair in child(here).metadata() if pair[0] == TRACE_KEY]
    if secret:
        pairs.append(("authorization", f"Bearer {secret}"))
    return pairs
