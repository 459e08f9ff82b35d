"""What HTTP allows in a request, and what of it is Runplane's own to say. Pure."""

import re
from typing import Final

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
WITH_EFFECT: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})
"""Methods that do no more when they are repeated (RFC 9110, 9.2.2)."""

MAX_HEADERS: Final = 64
MAX_NAME: Final = 128
MAX_VALUE: Final = 4096

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_VALUE: Final = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?", re.ASCII)
_JSON: Final = re.compile(r"(application|text)/json|[a-z0-9.-]+/[a-z0-9.+-]*\+json", re.ASCII)
_TEXT: Final = re.compile(
    r"text/.+|.+[/+](xml|yaml|x-yaml|javascript|x-ndjson|x-www-form-urlencoded)", re.ASCII
)
_OWN: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OWN_BEGINNINGS: Final = ("proxy-", "runplane-")
_SECRET: Final = frozenset({"authorization", "cookie"})


def problem_of_name(name: str) -> tuple[str, str] | None:
    """What is wrong with a header that a target names, and the fix; None if nothing is."""
    low = name.lower()
    if not _TOKEN.fullmatch(name):
        return "is no name of a header (RFC 9110)", "use letters, digits and -"
    if low in _OWN or low.startswith(_OWN_BEGINNINGS):
        return "is sent by Runplane itself, or by nobody", "leave it out"
    if low in _SECRET:
        return "would hold a secret that everybody sees", "use auth, which names a secret"
    return None


def is_value(text: str) -> bool:
    """Whether a header may have this value: ASCII on one line, and no space around it."""
    return len(text) <= MAX_VALUE and _VALUE.fullmatch(text) is not None


def is_secret_value(text: str) -> bool:
    """The same for a secret, which may be longer."""
    return _VALUE.fullmatch(text) is not None


def media_type(content_type: str) -> str:
    """`application/json` of `Application/JSON; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether this is JSON, by what it says."""
    return _JSON.fullmatch(media_type(content_type)) is not None


def is_text(content_type: str) -> bool:
    """Whether this is text, by what it says; so is what says nothing."""
    return not content_type.strip() or _TEXT.fullmatch(media_type(content_type)) is not None
