"""A task's events as a person reads them."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import click

Event = Mapping[str, object]

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text that cannot steer a terminal: without control characters but tabs and line ends."""
    return _CONTROLS.sub("", text)


class Renderer:
    """Shows one task, event by event."""

    def __init__(self) -> None:
        self._is_mid_answer = False
        self.status = ""
        self._shown: dict[str, Callable[[Event], None]] = {
            "agent_thought": self._thought,
            "tool_call": self._call,
            "child_task": self._child,
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

    def _result(self, event: Event) -> None:
        took = click.style(f"({event.get('latency_ms', 0)} ms)", dim=True)
        if event.get("status") == "success":
            output = _output(event)
            self._line(f"{click.style('←', fg='cyan')} {_name(event)} {plain(output)} {took}")
        else:
            self._line(f"{click.style('✗', fg='red')} {_name(event)}: {said(event)} {took}")

    def _delta(self, event: Event) -> None:
        self._is_mid_answer = True
        click.echo(plain(str(event.get("text", ""))), nl=False)

    def _answer(self, event: Event) -> None:
        if self._is_mid_answer:
            self._line("")
        else:
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
            tokens = metrics.get("tokens_used", 0)
            facts = f"{self.status} in {seconds:.2f} s, {tokens} tokens, {event.get('task_id')}"
            self._line(click.style(facts, dim=True))

    def _line(self, text: str) -> None:
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
