"""What loops that never end have in common."""

import logging
from collections.abc import Awaitable, Callable

from services.chassis.errors import ServiceError


async def safely(
    do: Callable[[], Awaitable[object]], otherwise: str, *, log: logging.Logger
) -> bool:
    """Whether it went well: one trouble must not end the loop, which is everybody's. It is logged
    as `otherwise`, with its traceback where nobody meant it."""
    try:
        await do()
    except ServiceError as error:
        log.warning(otherwise, extra={"error_code": error.reason})
    except Exception:
        log.exception(otherwise)
    else:
        return True
    return False
