"""An event loop whose time passes at once when there is nothing else to do."""

import asyncio
import selectors


class _Leaping(selectors.DefaultSelector):
    """Where a loop would wait for its next timer, the clock is put forward to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now. A test that waits for ever fails here, and not after minutes."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout:
            self.seconds += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """Timers fire in their order and at their time, without anyone waiting for them.

    For code that does its work in this loop alone: threads and sockets would be overtaken.
    """

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Seconds since the loop began, as its timers count them."""
        return self._leaping.seconds
