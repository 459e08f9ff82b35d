"""Sessions of clients before 2026-07-28: what a client said of itself when it shook hands, sealed
into the session's id. No replica keeps anything of one, so none can be ended before its time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeGuard

from mcp_types import InitializeRequestParams
from mcp_types.methods import SERVER_REQUESTS
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from pydantic import ValidationError

from gateway.shapes import JSON
from services.chassis.asking import METHODS
from services.chassis.context import Principal
from services.chassis.errors import NotFound
from services.chassis.sealing import Broken, Seal

HEADER: Final = b"mcp-session-id"
_HANDSHAKE: Final = "initialize"
_MARK_CHARACTERS: Final = 32
# What of a capability there may be to say, beside that it is there.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "elicitation": ("form", "url"),
    "roots": (),
    "sampling": ("context", "tools"),
}


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a client that shook hands."""

    version: str
    """What is spoken with it."""
    capabilities: Mapping[str, Any]
    """What it can be asked for."""
    mark: str
    """Tells the session from others. What it is asked is bound to it."""


class Sessions:
    """Makes the ids of sessions, and reads them."""

    def __init__(
        self, key: bytes, ttl: timedelta, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._seal = Seal(key)
        self._ttl = ttl
        self._now = now

    def begun(self, message: JSON, who: Principal) -> str:
        """The id of a session that begins with this message; empty where none does: it is no
        handshake, or one of a client that cannot be asked for anything."""
        if not is_handshake(message):
            return ""
        try:
            params = InitializeRequestParams.model_validate(message.get("params"), by_name=False)
        except ValidationError:  # As the SDK will say.
            return ""
        asked = params.protocol_version
        version = asked if asked in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION
        said = params.capabilities.model_dump(by_alias=True, exclude_none=True)
        if not (can := _askable(said, version)):
            return ""
        until = (self._now() + self._ttl).timestamp()
        text = json.dumps({"version": version, "can": can, "until": until})
        return self._seal.close(text, _bound(who))

    def found(self, sealed: str, who: Principal) -> Session:
        """What the id of a session says.

        Raises:
            NotFound: `MCP_SESSION_NOT_FOUND`; it is none of this client's, or was one too long ago.
        """
        try:
            said = json.loads(self._seal.open(sealed, _bound(who)))
        except Broken:
            raise _not_found("is none that this client was given") from None
        if self._now().timestamp() >= said["until"]:
            raise _not_found("is too old")
        mark = sha256(sealed.encode()).hexdigest()[:_MARK_CHARACTERS]
        return Session(said["version"], said["can"], mark)


def is_handshake(message: JSON) -> TypeGuard[dict[str, JSON]]:
    """Whether a message begins a session, if it can: it belongs to none yet."""
    return isinstance(message, dict) and message.get("method") == _HANDSHAKE


def _askable(said: Mapping[str, Any], version: str) -> dict[str, Any]:
    """What of these capabilities a tool may ask for in this version, and no more than is known."""
    return {
        name: {part: {} for part in _PARTS[name] if isinstance(said[name].get(part), Mapping)}
        for name, method in METHODS.items()
        if isinstance(said.get(name), Mapping) and (method, version) in SERVER_REQUESTS
    }


def _bound(who: Principal) -> dict[str, str]:
    return {"for": "mcp session", "tenant": who.tenant, "subject": who.subject}


def _not_found(why: str) -> NotFound:
    return NotFound(
        "MCP_SESSION_NOT_FOUND",
        f"Mcp-Session-Id {why}",
        field="Mcp-Session-Id",
        suggested_fix="send initialize, without a session, for another",
    )
