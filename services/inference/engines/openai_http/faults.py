"""What an upstream's refusals mean to whoever asked. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from services.chassis.errors import ResourceExhausted, ServiceError
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.openai_http.upstream import Upstream

LONGEST_WAIT: Final = timedelta(minutes=5)
_SHOWN: Final = 300

_WINDOW: Final = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|too many tokens",
    re.IGNORECASE,
)
_SCHEMA: Final = re.compile(
    r"schema|grammar|response_format|structured|guided|\bjson\b", re.IGNORECASE
)
_KEYS: Final = frozenset({401, 403})
_REQUESTS: Final = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an upstream said instead of an answer."""

    status: int
    kind: str
    """Its own name for it, if it has one."""
    message: str
    retry_after: str = ""

    @property
    def is_of_window(self) -> bool:
        """Whether the prompt is too long."""
        said = f"{self.kind} {self.message}"
        return self.status in _REQUESTS and _WINDOW.search(said) is not None


class RefusedError(Exception):
    """An upstream's refusal, on its way to become a `ServiceError`."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.message)
        self.refused = refused


def refusal(status: int, body: bytes, retry_after: str = "") -> Refusal:
    """What an answer says that is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(status, "", "", retry_after)  # A page for people, say.
    error = said.get("error", said) if isinstance(said, dict) else said
    return refusal_of(error, status, retry_after)


def refusal_of(error: JSON, status: int = 500, retry_after: str = "") -> Refusal:
    """The same from the error that a body or an event has."""
    if not isinstance(error, Mapping):
        return Refusal(status, "", str(error), retry_after)
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    kinds = [each for each in (code, error.get("type")) if isinstance(each, str)]
    message = error.get("message") or error.get("detail") or ""
    return Refusal(status, " ".join(kinds)[:_SHOWN], str(message), retry_after)


def fault(refused: Refusal, upstream: Upstream, now: datetime, *, is_bound: bool) -> ServiceError:
    """The error that a refusal is here, but for one of the window: that takes the sizes.

    `is_bound`: whether a schema was sent, which may be what is refused.
    """
    status, message = refused.status, refused.message[:_SHOWN]
    said = f": {message}" if message else ""
    if status in _KEYS:
        setting = upstream.setting("api_key")
        return failures.engine_failed(
            f"the upstream does not take the key of this model ({status}): see {setting}"
        )
    if status == 429:
        return _overloaded(refused, upstream, now)
    if 300 <= status < 400:
        return failures.engine_failed(
            f"the upstream redirects ({status}), which is not followed: see "
            f"{upstream.setting('url')}"
        )
    if status == 404:
        return failures.engine_failed(
            f"the upstream has no such model or path{said}: see {upstream.setting('model')} and "
            f"{upstream.setting('url')}"
        )
    if is_bound and _SCHEMA.search(f"{refused.kind} {refused.message}"):
        return failures.schema_refused(refused.message)
    error = failures.engine_failed(f"the upstream answered {status}{said}")
    delay = _delay(refused.retry_after, now)
    return error.after(delay) if delay is not None else error


def _overloaded(refused: Refusal, upstream: Upstream, now: datetime) -> ServiceError:
    delay = _delay(refused.retry_after, now) or upstream.bounds.retry_after
    return ResourceExhausted(
        "ENGINE_OVERLOADED",
        f"the upstream of {upstream.name} takes no more for now: try later",
        model=upstream.name,
    ).after(delay)


def _delay(text: str, now: datetime) -> timedelta | None:
    """Of a `Retry-After` (RFC 9110, 10.2.3); None if it says nothing of use."""
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        return min(timedelta(seconds=int(text)), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    left = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return min(left, LONGEST_WAIT) if left > timedelta(0) else None
