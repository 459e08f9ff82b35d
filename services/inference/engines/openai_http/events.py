"""Server-sent events, as they come in pieces of any size. Pure."""

from services.inference.engines import failures


class Events:
    """Takes bytes, gives the data of the events that are complete with them.

    An event, and all of them together, have at most so many bytes: what comes beyond that is not
    kept, but an `ENGINE_FAILED`.
    """

    def __init__(self, *, event_bytes: int, answer_bytes: int) -> None:
        self._event_bytes = event_bytes
        self._left = self._answer_bytes = answer_bytes
        self._rest = bytearray()  # A line that has not ended.
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """What is complete now.

        Raises:
            Unavailable: `ENGINE_FAILED`; too much has come.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise failures.engine_failed(f"its answer has more than {self._answer_bytes} bytes")
        self._rest += chunk
        found: list[bytes] = []
        if b"\n" in chunk:  # Else it would look through all that came before, piece after piece.
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            found = [data for line in lines if (data := self._line(line)) is not None]
        if self._size + len(self._rest) > self._event_bytes:
            raise failures.engine_failed(f"an event has more than {self._event_bytes} bytes")
        return found

    def _line(self, line: bytes) -> bytes | None:
        """The event that the line ends, if it does and there is one."""
        line = line.removesuffix(b"\r")
        if line:
            self._field(line)
            return None
        data, self._data, self._size = self._data, [], 0
        return b"\n".join(data) if data else None

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > self._event_bytes:
                raise failures.engine_failed(f"an event has more than {self._event_bytes} bytes")
