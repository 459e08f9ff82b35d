"""A child for the supervisor's tests: `python child_under_test.py ADMIN_PORT BEHAVIOUR`.

Serves `/readyz` on the port. `stubborn` ignores SIGTERM; `mute` never is ready; `broken` says why
and ends; `long` writes a line longer than a supervisor reads; `once:PATH` is broken if PATH is
there, and makes it.
"""

import asyncio
import os
import signal
import sys

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def say(text: str) -> None:
    """A line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ready."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(READY)
    await writer.drain()
    writer.close()


async def main(port: int, behaviour: str) -> None:
    """Behave."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(
        signal.SIGTERM, (lambda: None) if behaviour == "stubborn" else ended.set
    )
    if behaviour == "broken":
        say('{"message": "a log line"}\nthe disk is full')
        raise SystemExit(3)
    if behaviour.startswith("once:"):
        try:
            os.close(os.open(behaviour.removeprefix("once:"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise SystemExit(4) from None
    if behaviour == "mute":
        await ended.wait()
        return
    if behaviour == "long":
        say("x" * 3_000_000)
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        say("up")
        await ended.wait()
    say("bye")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
