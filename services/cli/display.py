"""What `up` prints of its children, and what it writes to their log files."""

import json
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

import click

from services.cli.plain import plain

COLORS = ("cyan", "magenta", "green", "yellow", "blue")
FILE_BYTES = 10 * 1024 * 1024
SHOWN = ("warning", "error", "critical")
LEFT_OUT = frozenset(
    {"time", "level", "service", "logger", "message", "tenant", "span_id", "exception"}
)


class Display:
    """Lines of all children, each behind its name. Without `verbose`, only what matters."""

    def __init__(self, names: list[str], folder: Path, *, verbose: bool) -> None:
        self._width = max(map(len, names))
        self._colors = {name: COLORS[n % len(COLORS)] for n, name in enumerate(names)}
        self._verbose = verbose
        self._files = {
            name: RotatingFileHandler(
                folder / f"{name}.jsonl",
                maxBytes=FILE_BYTES,
                backupCount=1,
                encoding="utf-8",
                errors="backslashreplace",
            )
            for name in names
        }

    def say(self, name: str, text: str) -> None:
        """One line of `up` about a child."""
        prefix = click.style(f"{name:<{self._width}}", fg=self._colors[name])
        click.echo(f"{prefix}  {_printable(text)}")

    def line(self, name: str, raw: str) -> None:
        """One line that a child wrote."""
        self._files[name].handle(logging.LogRecord("", 0, "", 0, raw, None, None))
        if (text := self._readable(raw)) is not None:
            self.say(name, text)

    def close(self) -> None:
        """Close the log files."""
        for file in self._files.values():
            file.close()

    def _readable(self, raw: str) -> str | None:
        try:
            record = json.loads(raw)
        except ValueError:
            return raw
        if not isinstance(record, dict) or "message" not in record:
            return raw
        level = str(record.get("level", "info"))
        if not self._verbose and level not in SHOWN:
            return None
        facts = " ".join(f"{key}={value}" for key, value in record.items() if key not in LEFT_OUT)
        text = " ".join(f"{level}: {record['message']} {facts}".split())
        return "\n".join(filter(None, (text, str(record.get("exception", "")))))


def _printable(text: str) -> str:
    """What a child wrote, as a terminal can take it: half a surrogate pair would end `up`."""
    return plain(text).encode(errors="replace").decode()
