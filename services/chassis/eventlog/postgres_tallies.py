"""Tallies and holds, as statements for PostgreSQL."""

import json
from collections.abc import Sequence
from typing import Any, Final

from services.chassis.eventlog.tallies import Held, Hold

TALLIED: Final = (
    "select name, sum(first), sum(second), sum(third), sum(fourth) from tallies"
    " where tenant = $1 and name between $2 and $3 group by name order by name limit $4"
)
HOLD: Final = "select * from hold($1, $2, $3, $4, $5)"


def wants(hold: Hold) -> str:
    """What is wanted, as the function takes it."""
    return json.dumps(
        [
            {
                "account": want.account,
                "first": want.first,
                "last": want.last,
                "amounts": want.amounts,
                "most": want.most,
            }
            for want in hold.wants
        ]
    )


def held(rows: Sequence[Any]) -> Held:
    """What the function says."""
    fits, used, held_ = zip(*rows, strict=True)
    return Held(all(fits), [tuple(each) for each in used], [tuple(each) for each in held_])
