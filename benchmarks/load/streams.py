"""Streams of tasks: many at once, or one after the other."""

import asyncio
from collections import Counter
from time import perf_counter
from typing import Final

from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Answer, connect, request
from benchmarks.load.job import Job, Report

START: Final = b"event: task_start"
DELTA: Final = b"event: message_delta"
COMPLETE: Final = b"event: task_complete"
MARKS: Final = (START, DELTA, COMPLETE)


async def run(job: Job) -> Report:
    """`job.callers` streams at once, each caller `job.count` of them one after the other."""
    raw = request(job.address, job.path, job.body)
    answers: list[Answer] = []
    errors: Counter[str] = Counter()
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(job.callers):
            group.create_task(_caller(job, raw, answers, errors))
    seconds = perf_counter() - began
    good = [answer for answer in answers if _is_good(answer, job.expect.encode(), errors)]
    return {
        "count": len(good),
        "seconds": seconds,
        "errors": dict(errors),
        "bytes": sum(len(answer.content) for answer in good),
        "events": sum(answer.content.count(b"\nevent: ") for answer in good),
        "start": summary_ms([answer.at[0] - answer.began for answer in good]),
        "first": summary_ms([answer.at[1] - answer.began for answer in good]),
        "whole": summary_ms([answer.ended - answer.began for answer in good]),
    }


async def _caller(job: Job, raw: bytes, answers: list[Answer], errors: Counter[str]) -> None:
    connection = await connect(job.address)
    for _ in range(job.count):
        try:
            answers.append(await connection.ask(raw, MARKS))
        except ConnectionError:
            errors["connection lost"] += 1
            connection = await connect(job.address)
    connection.close()


def _is_good(answer: Answer, expect: bytes, errors: Counter[str]) -> bool:
    if answer.status != 200:
        errors[str(answer.status)] += 1
    elif len(answer.at) < len(MARKS) or not answer.contains(expect):
        errors["stream without what was expected"] += 1
    else:
        return True
    return False
