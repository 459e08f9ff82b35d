"""Events of types that only a newer version knows. While both run, that one goes on with them."""

import re
from collections.abc import Container
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError, Unavailable

NEWER: Final = "WRITTEN_BY_NEWER_VERSION"
_TYPE: Final = re.compile(r"[a-z_]+\.[a-z_]+\.v[1-9]\d*")


def check_known(types: Container[str], stored_type: str) -> None:
    """Refuse what looks like the type of an event, and is none of this version's.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`; a replica of that version may answer.
    """
    if stored_type in types or not _TYPE.fullmatch(stored_type):
        return
    shown = stored_type[:64]
    message = f"a newer version wrote {shown}, and this one cannot go on"
    fix = "ask again: a newer replica may answer; or update this one"
    raise Unavailable(NEWER, message, type=shown, suggested_fix=fix).after(timedelta(seconds=1))


def is_newer(error: ServiceError) -> bool:
    """Whether an error says that a newer version is needed."""
    return error.reason == NEWER
