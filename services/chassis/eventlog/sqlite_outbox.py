"""The outbox in SQLite: what is still to be told."""

import json
from typing import Final

from services.chassis.eventbus.port import Message
from services.chassis.eventlog.port import Outgoing

OUTGOING: Final = (
    "select number, topic, key, value, headers from outbox where number > ? order by number limit ?"
)
BACKLOG: Final = "select topic, count(*) from outbox group by topic"
TOLD: Final = "delete from outbox where number = ?"


def outgoing(row: tuple[int, str, str, bytes, str]) -> Outgoing:
    """A row of `OUTGOING` as a message."""
    number, topic, key, value, headers = row
    return Outgoing(number, Message(topic, key, value, json.loads(headers)))
