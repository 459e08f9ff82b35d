"""What the store keeps of a task: bytes a tool call, and whether they grow with the history."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from benchmarks.bench import Bench
from benchmarks.figure import Bar, Figure
from benchmarks.load.job import JSON
from benchmarks.suite import Suite

CALLS: Final = (10, 50, 100)
A_STEP: Final = 4  # Calls; a step has no more.
TASKS: Final = 20  # Of each length, so that pages of the file do not count.
WORDS: Final = 20_000
END: Final = "task.completed.v1"


@dataclass(slots=True)
class Kept:
    """What is kept of so many tasks alike, in bytes."""

    log: dict[str, int] = field(default_factory=dict)
    """Bodies of events by their type."""
    record: int = 0
    """What lists show."""
    file: int = 0
    """By which the file grew: keys, indexes and free space included."""

    @property
    def whole_log(self) -> int:
        """Bodies of all events."""
        return sum(self.log.values())


def history(bench: Bench) -> Iterator[Figure]:
    """Tasks of 10, 50 and 100 calls, four a step, on SQLite; and one long answer."""
    kept: dict[int, list[Kept]] = {calls: [] for calls in CALLS}
    answers: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="runplane-bench-") as folder,
        bench.suite("echo", RUNPLANE_EVENT_STORE=f"sqlite:///{folder}") as suite,
    ):
        path = Path(folder, "orchestrator.db")
        for run in range(bench.times):
            bench.say(f"history: run {run + 1}")
            for calls in CALLS:
                body: dict[str, JSON] = {"query": script(calls), "limits": {"steps": 32}}
                kept[calls].append(_kept(suite, path, body, TASKS))
            answers.append(_answered(suite, path))
    yield from _figures(kept)
    note = "deltas, final_answer and the record each have the whole answer"
    yield Figure("history", "an answer is kept so often", "", answers, note=note)


def script(calls: int) -> str:
    """What the echo engine plays."""
    lines = [f'tool:calculator {{"expression": "12*{n}"}}' for n in range(10, 10 + calls)]
    steps = (lines[n : n + A_STEP] for n in range(0, calls, A_STEP))
    return "\n\n".join("\n".join(step) for step in steps) + "\ndone"


def _figures(kept: Mapping[int, list[Kept]]) -> Iterator[Figure]:
    for name, of in (
        ("log", lambda each: each.whole_log),
        ("task_complete", lambda each: each.log[END]),
        ("record", lambda each: each.record),
        ("file", lambda each: each.file),
    ):
        for calls, runs in kept.items():
            values = [of(each) / TASKS / calls for each in runs]
            yield Figure("history", f"{name}, {calls} calls", "B a call", values)
    slopes = [
        (long.whole_log - middle.whole_log) / 50 / ((middle.whole_log - short.whole_log) / 40)
        for short, middle, long in zip(*(kept[calls] for calls in CALLS), strict=True)
    ]
    note = "from 50 to 100 calls the log grows by so much more a call than from 10 to 50"
    yield Figure("history", "growth of the growth", "", slopes, Bar(1.05), note=note)


def _answered(suite: Suite, path: Path) -> float:
    """How many times the store has an answer."""
    body: dict[str, JSON] = {"query": f"tokens:{WORDS}", "tool_choice": "none"}
    kept = _kept(suite, path, body, 1)
    return (kept.whole_log + kept.record) / len(_asked(suite, body)["result"])


def _kept(suite: Suite, path: Path, body: dict[str, JSON], tasks: int) -> Kept:
    """Run tasks and look at what they left."""
    before, found = _size(path), Kept()
    for _ in range(tasks):
        task_id = _asked(suite, body)["task_id"]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            for name, size in store.execute(
                "select type, sum(length(body)) from events where stream_id = ? group by type",
                (task_id,),
            ):
                found.log[name] = found.log.get(name, 0) + size
            (size,) = store.execute(
                "select length(body) + length(attributes) from records where id = ?", (task_id,)
            ).fetchone()
            found.record += size
    found.file = _size(path) - before
    return found


def _asked(suite: Suite, body: dict[str, JSON]) -> dict[str, str]:
    asked = Request(
        f"http://{suite.address}/v1/agent/invoke",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urlopen(asked) as response:  # noqa: S310 - our own edge
        answer: dict[str, str] = json.load(response)
    if answer["status"] != "completed":
        raise RuntimeError(f"a task ended {answer['status']}")
    return answer


def _size(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        sql = "select page_count * page_size from pragma_page_count, pragma_page_size"
        return int(store.execute(sql).fetchone()[0])
