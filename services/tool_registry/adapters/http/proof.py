"""How an HTTP request proves who sends it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from services.chassis.egress.secrets import NO_SECRETS, Scrub
from services.tool_registry.adapters.sending import sendable_secret
from services.tool_registry.domain.targets import HttpAuth
from services.tool_registry.ports import Secrets


@dataclass(frozen=True, slots=True)
class Proof:
    """What is added to a request, and what must not come back."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    scrub: Scrub = NO_SECRETS


NOTHING: Final = Proof()


def _basic(auth: HttpAuth, secret: str) -> Proof:
    coded = base64.b64encode(secret.encode()).decode()
    password = secret.partition(":")[2]
    return Proof({"authorization": f"Basic {coded}"}, "", Scrub((secret, password)))


def _query(auth: HttpAuth, secret: str) -> Proof:
    return Proof({}, f"{quote(auth.name, safe='')}={quote(secret, safe='')}", Scrub((secret,)))


_PROOFS: Final[dict[str, Callable[[HttpAuth, str], Proof]]] = {
    "bearer": lambda _, secret: Proof({"authorization": f"Bearer {secret}"}, "", Scrub((secret,))),
    "basic": _basic,
    "header": lambda auth, secret: Proof({auth.name: secret}, "", Scrub((secret,))),
    "query": _query,
}


async def proof(auth: HttpAuth | None, secrets: Secrets, tenant: str) -> Proof:
    """The proof that a target asks for. The secret is read now.

    Raises:
        FailedPrecondition: `SECRET_NOT_FOUND`; there is none, or none that can be sent so.
    """
    if auth is None:
        return NOTHING
    found = _PROOFS[auth.scheme](auth, await secrets.get(tenant, auth.secret))
    for value in found.headers.values():
        sendable_secret(value, auth.secret)
    return found
