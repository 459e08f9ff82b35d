"""`/loglevel` on the admin port: how much the process logs, and for how long.

Who has the token may, from anywhere. Where no token is set, whoever is on this machine may.
"""

import hmac
import ipaddress
import json
from datetime import timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from services.chassis.errors import (
    InvalidArgument,
    PermissionDenied,
    ServiceError,
    Unauthenticated,
    Violation,
    invalid,
)
from services.chassis.levels import LONGEST, Levels
from services.chassis.rebinding import is_own_name

PATH: Final = "/loglevel"
_MOST_BYTES: Final = 4096
_HTTP: Final = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "METHOD_NOT_ALLOWED": 405,
}
"""By an error's reason, else by its kind."""


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    logger: str = Field(max_length=200)
    level: str | None = Field(None, max_length=20)
    seconds: float | None = Field(None, gt=0, le=LONGEST.total_seconds(), allow_inf_nan=False)


class LogLevel:
    """Answers at `/loglevel`."""

    def __init__(self, levels: Levels, token: SecretStr | None = None) -> None:
        self._levels = levels
        self._token = token.get_secret_value().encode() if token else None

    async def __call__(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Show the levels, or change one."""
        try:
            self._check(scope)
            if scope["method"] == "PUT":
                self._put(await _body(receive))
            elif scope["method"] not in {"GET", "HEAD"}:
                fix = "use GET or PUT"
                raise InvalidArgument("METHOD_NOT_ALLOWED", "not offered here", suggested_fix=fix)
        except ServiceError as error:
            await _send(send, _status(error), _shown(error))
        else:
            await _send(send, 200, self._levels.shown())

    def _check(self, scope: HTTPScope) -> None:
        headers = dict(scope["headers"])
        if self._token is not None:
            said = headers.get(b"authorization", b"")
            if not hmac.compare_digest(said, b"Bearer " + self._token):
                fix = "send Authorization: Bearer with the admin token"
                raise Unauthenticated("TOKEN_INVALID", "the token is wrong", suggested_fix=fix)
            return
        client = scope["client"]
        is_here = client is not None and ipaddress.ip_address(client[0]).is_loopback
        # A page that a browser here shows may have a name that leads to this machine.
        if not is_here or not is_own_name(headers.get(b"host", b"")):
            raise PermissionDenied(
                "LOOPBACK_ONLY",
                "without an admin token, only this machine may",
                suggested_fix="ask 127.0.0.1, or set the service's ADMIN_TOKEN and send it",
            )

    def _put(self, body: bytes) -> None:
        try:
            wish = _Wish.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "body"
            fix = 'send {"logger": "services", "level": "debug", "seconds": 600}'
            raise invalid(Violation(field, "is not what it should be", fix)) from None
        if wish.level is None:
            self._levels.take_back(wish.logger)
        else:
            lasts = timedelta(seconds=wish.seconds) if wish.seconds is not None else None
            self._levels.change(wish.logger, wish.level, lasts)


async def _body(receive: ASGIReceiveCallable) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body, more = body + message["body"], message["more_body"]
        if len(body) > _MOST_BYTES:
            raise invalid(Violation("body", f"is larger than {_MOST_BYTES} bytes", "send less"))
    return body


def _status(error: ServiceError) -> int:
    return _HTTP.get(error.reason) or _HTTP[error.code]


def _shown(error: ServiceError) -> dict[str, object]:
    fix = error.metadata.get("suggested_fix", "")
    said = {"status": "error", "code": _status(error), "grpc_status": error.code}
    return said | {"error_code": error.reason, "message": error.message, "suggested_fix": fix}


async def _send(send: ASGISendCallable, status: int, content: dict[str, object]) -> None:
    body = json.dumps(content).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"allow", b"GET, HEAD, PUT"),
    ]
    await send(
        {"type": "http.response.start", "status": status, "headers": headers, "trailers": False}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
