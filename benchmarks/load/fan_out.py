"""One task, and many who watch it from its start to its end."""

import asyncio
import re
from collections import Counter
from time import perf_counter
from typing import Final

from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Answer, Connection, connect, request
from benchmarks.load.job import Job, Report
from benchmarks.load.streams import COMPLETE, START

_TASK: Final = re.compile(rb'"task_id":"(task_[0-9a-z]+)"')


async def run(job: Job) -> Report:
    """`job.count` tasks one after the other, each with `job.callers` watchers."""
    maker = await connect(job.address)
    watchers = [await connect(job.address) for _ in range(job.callers)]
    spread: list[float] = []
    errors: Counter[str] = Counter()
    events = good = 0
    began = perf_counter()
    for _ in range(job.count):
        made = await maker.ask(request(job.address, "/v1/tasks", job.body))
        answers = await asyncio.gather(*(_watch(job, each, made) for each in watchers))
        whole = [each for each in answers if len(each.at) == 2 and each.contains(b"completed")]
        errors["watchers that did not see all"] += len(answers) - len(whole)
        counts = {each.content.count(b"\nevent: ") for each in whole}
        errors["watchers that saw other events"] += len(counts) - 1
        events += sum(each.content.count(b"\nevent: ") for each in whole)
        good += len(whole)
        ends = [each.at[1] for each in whole]
        spread.append(max(ends) - min(ends))
    return {
        "count": good,
        "seconds": perf_counter() - began,
        "errors": dict(+errors),
        "events": events,
        "spread": summary_ms(spread),
    }


async def _watch(job: Job, connection: Connection, made: Answer) -> Answer:
    match = _TASK.search(made.content)
    if match is None:
        raise RuntimeError(f"no task: {made.content[:200]!r}")
    path = f"/v1/tasks/{match[1].decode()}:watch"
    return await connection.ask(request(job.address, path, None), (START, COMPLETE))
