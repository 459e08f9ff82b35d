"""A task's events as a person reads them."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

import click

from services.cli import asking
from services.cli.plain import plain

Event = Mapping[str, object]

QUIET: Final = frozenset({"debug", "info", "notice"})
PROGRESS_SECONDS: Final = 1.0  # Between two lines of it, where none can be written over.
_REWRITE: Final = "\r\x1b[K"


class Renderer:
    """Shows one task of the edge at `url`, event by event."""

    def __init__(
        self,
        url: str = "",
        *,
        is_tty: bool | None = None,
        prompts: bool = False,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._url = url
        self._is_tty = sys.stdout.isatty() if is_tty is None else is_tty
        self._prompts = prompts
        self._now = now
        self._is_mid_answer = False
        self._is_mid_progress = False
        self._progress_due = -math.inf
        self.status = ""
        self._shown: dict[str, Callable[[Event], None]] = {
            "agent_thought": self._thought,
            "tool_call": self._call,
            "child_task": self._child,
            asking.CHILD: self._child_changed,
            "tool_progress": self._progress,
            "tool_log": self._log,
            "approval_required": self._asked,
            "approval_decided": self._decided,
            "input_required": self._asked,
            "input_received": self._received,
            "input_given": self._given,
            "tool_result": self._result,
            "message_delta": self._delta,
            "final_answer": self._answer,
            "step_abandoned": self._abandoned,
            "warning": self._warning,
            "task_complete": self._complete,
        }

    def show(self, event: Event) -> None:
        """Print what an event says; unknown types are passed over."""
        if shown := self._shown.get(str(event.get("type"))):
            shown(event)

    def _thought(self, event: Event) -> None:
        self._line(click.style(plain(f"· {event.get('reasoning')}"), dim=True))

    def _call(self, event: Event) -> None:
        given = json.dumps(event.get("input", {}), ensure_ascii=False)
        self._line(f"{click.style('→', fg='cyan')} {_name(event)} {plain(given)}")

    def _child(self, event: Event) -> None:
        self._line(click.style(plain(f"  as {event.get('child_task_id')}"), dim=True))

    def _child_changed(self, event: Event) -> None:
        wants = f" for {event['wants']}" if event.get("wants") else ""
        said = f"  {_name(event)} as {event.get('child_task_id')} is {event.get('status')}{wants}"
        self._line(click.style(plain(said), dim=True))

    def _progress(self, event: Event) -> None:
        text = f"  {_name(event)} {_how_far(event)}"
        if self._is_tty and not self._is_mid_answer:
            width = shutil.get_terminal_size().columns - 1
            click.echo(
                _REWRITE + click.style(" ".join(text.split("\n"))[:width], dim=True), nl=False
            )
            self._is_mid_progress = True
        elif self._now() >= self._progress_due:
            self._progress_due = self._now() + PROGRESS_SECONDS
            self._line(click.style(text, dim=True))

    def _log(self, event: Event) -> None:
        if event.get("level") not in QUIET:
            said = plain(f"  {event.get('tool_name')} {event.get('level')}: {event.get('message')}")
            self._line(click.style(said, dim=True))

    def _asked(self, event: Event) -> None:
        for line in asking.lines(event):
            self._line(click.style(plain(line), fg="yellow"))
        if self._prompts and asking.can_prompt(event):
            return  # Whoever sits there is asked.
        for each in asking.answers(event):
            self._line(f"  {each.means}: {each.command(self._url, str(event.get('task_id')))}")

    def _decided(self, event: Event) -> None:
        word = "approved" if event.get("approved") else "denied"
        self._line(click.style(f"  {_name(event)}: {word}{_by(event)}", dim=True))

    def _received(self, event: Event) -> None:
        self._line(click.style(f"  {_name(event)}: answered in part{_by(event)}", dim=True))

    def _given(self, event: Event) -> None:
        self._line(click.style(f"  {_name(event)}: answered{_by(event)}", dim=True))

    def _result(self, event: Event) -> None:
        took = click.style(f"({event.get('latency_ms', 0)} ms)", dim=True)
        if event.get("status") == "success":
            output = _output(event)
            self._line(f"{click.style('←', fg='cyan')} {_name(event)} {plain(output)} {took}")
        else:
            self._line(f"{click.style('✗', fg='red')} {_name(event)}: {said(event)} {took}")

    def _delta(self, event: Event) -> None:
        self._clear()
        self._is_mid_answer = True
        click.echo(plain(str(event.get("text", ""))), nl=False)

    def _answer(self, event: Event) -> None:
        if self._is_mid_answer:
            self._line("")
        else:
            self._clear()
            click.echo(plain(str(event.get("answer", ""))))

    def _abandoned(self, event: Event) -> None:
        withdrawn = "; what it said so far is withdrawn" if self._is_mid_answer else ""
        attempt = f"attempt {event.get('attempt')} failed"
        self._line(click.style(f"✗ {attempt}: {said(event)}{withdrawn}", fg="yellow"))

    def _warning(self, event: Event) -> None:
        warning = event.get("warning")
        if isinstance(warning, Mapping):
            self._line(click.style(plain(f"! {warning.get('message')}"), fg="yellow"))

    def _complete(self, event: Event) -> None:
        self.status = str(event.get("status", ""))
        if self.status == "failed":
            self._line(click.style(f"failed: {said(event)}", fg="red"))
        metrics = event.get("metrics")
        if isinstance(metrics, Mapping):
            seconds = float(metrics.get("total_duration_ms", 0)) / 1000
            used = f"{metrics.get('tokens_used', 0)} tokens"
            if saved := metrics.get("tokens_saved"):
                used += f" ({saved} more from the cache)"
            facts = f"{self.status} in {seconds:.2f} s, {used}, {event.get('task_id')}"
            self._line(click.style(facts, dim=True))

    def _clear(self) -> None:
        """Take the line away that says how far a tool is."""
        if self._is_mid_progress:
            click.echo(_REWRITE, nl=False)
            self._is_mid_progress = False

    def _line(self, text: str) -> None:
        self._clear()
        if self._is_mid_answer:
            click.echo()
            self._is_mid_answer = False
        if text:
            click.echo(text)


def said(event: Event) -> str:
    """What an event's error says, and what to do."""
    error = event.get("error")
    if not isinstance(error, Mapping):
        return "no reason given"
    fix = error.get("suggested_fix")
    return plain(f"{error.get('message')}" + (f" ({fix})" if fix else ""))


def _output(event: Event) -> str:
    """What a tool returned; of what is too large for the log, its size."""
    reference = event.get("reference")
    if isinstance(reference, Mapping):
        return f"{reference.get('size_bytes')} bytes, object {reference.get('sha256')}"
    return json.dumps(event.get("output"), ensure_ascii=False)


def _name(event: Event) -> str:
    return plain(str(event.get("tool_name")))


def _how_far(event: Event) -> str:
    """How much is done, of how much, and what is being done."""
    done, total = event.get("progress"), event.get("total")
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        far = f"{done / total:.0%}"
    else:
        far = f"{done:g}" if isinstance(done, int | float) else ""
    return plain(f"{far} {event.get('message') or ''}".strip())


def _by(event: Event) -> str:
    author, comment = event.get("author"), event.get("comment")
    return plain((f" by {author}" if author else "") + (f": {comment}" if comment else ""))
