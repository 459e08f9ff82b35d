"""How much is still to be told, and when that is too much. Pure, but for what it is told."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from services.chassis.errors import ResourceExhausted

MOST_PER_PARTITION: Final = 1_000
RETRY_AFTER: Final = timedelta(seconds=1)


class Backlog:
    """The messages in the outbox, by topic: as the relay last counted them, and what this process
    let in since. A topic may have `most_per_partition` for each partition that the bus has for it;
    for one, until that is known. So the bound is overstepped by what other processes let in
    between two counts, a quarter of a second, and by no more.

    `watch` is called with the counts each time they are taken, such as for a metric.
    """

    def __init__(
        self,
        most_per_partition: int = MOST_PER_PARTITION,
        watch: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        self._most_per_partition = most_per_partition
        self._watch = watch
        self._counts: dict[str, int] = {}
        self._partitions: dict[str, int] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many are to be told, by topic."""
        return self._counts

    @property
    def total(self) -> int:
        """How many are to be told."""
        return sum(self._counts.values())

    @property
    def unknown(self) -> list[str]:
        """The topics with a backlog whose partitions are not known."""
        return [topic for topic in self._counts if topic not in self._partitions]

    def most(self, topic: str) -> int:
        """How many a topic may have."""
        return self._most_per_partition * self._partitions.get(topic, 1)

    def admit(self, topic: str, count: int = 1) -> None:
        """Let in messages that are about to be appended together. Where none wait there is room
        for any number, so that nothing is refused for ever.

        Raises:
            ResourceExhausted: `OUTBOX_FULL`, with RetryInfo; append nothing.
        """
        waiting = self._counts.get(topic, 0)
        if waiting and count and waiting + count > self.most(topic):
            raise ResourceExhausted(
                "OUTBOX_FULL",
                f"{waiting} messages for {topic} wait for the event bus",
                topic=topic,
                waiting=str(waiting),
                most=str(self.most(topic)),
                suggested_fix="try again later; see that the brokers of RUNPLANE_EVENT_BUS answer",
            ).after(RETRY_AFTER)
        self._counts[topic] = waiting + count

    def counted(self, counts: Mapping[str, int]) -> None:
        """What the store says."""
        self._counts = dict(counts)
        if self._watch is not None:
            self._watch(self._counts)

    def learned(self, topic: str, partitions: int) -> None:
        """What the bus says."""
        self._partitions[topic] = partitions
