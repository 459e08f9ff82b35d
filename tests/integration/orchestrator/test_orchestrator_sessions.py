"""Sessions: what was said before is remembered, shown and forgotten."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import sessions_pb2 as ss

from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.sessions import (
    begun,
    ended,
    info,
    messages,
    prompt_tokens,
    refused,
    said,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERS = (("runplane-subject", "her"),)
THEIRS = (("runplane-tenant", "them"),)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fresh() -> AsyncIterator[Suite]:
    """A suite whose sessions are these tests' own."""
    async with started() as running:
        yield running


async def session(suite: Suite, session_id: str) -> ss.Session:
    return await suite.sessions.GetSession(ss.GetSessionRequest(session_id=session_id), timeout=5)


async def listed(suite: Suite, **fields: object) -> list[str]:
    response = await suite.sessions.ListSessions(ss.ListSessionsRequest(**fields), timeout=5)
    return [each.session_id for each in response.sessions]


async def delete(suite: Suite, session_id: str) -> None:
    request = ss.DeleteSessionRequest(session_id=session_id)
    await suite.sessions.DeleteSession(request, timeout=5)


async def test_the_next_turn_is_shown_the_turns_before(suite: Suite) -> None:
    alone = await prompt_tokens(suite, "And now?")
    session_id = await said(suite, "My name is Ada")  # Echo answers as many words.

    second = await prompt_tokens(suite, "And now?", session_id)
    third = await prompt_tokens(suite, "And now?", session_id)

    assert second == alone + 2 * (4 + 1)
    assert third == second + 2 * (2 + 1)


async def test_the_turns_of_a_session_are_its_messages(suite: Suite) -> None:
    session_id = await said(suite, "One")
    await said(suite, "Two", session_id)

    assert await messages(suite, session_id) == [
        (1, "user", "One"),
        (2, "assistant", "One"),
        (3, "user", "Two"),
        (4, "assistant", "Two"),
    ]


async def test_a_first_task_alone_is_a_session_already(suite: Suite) -> None:
    task = await begun(suite, "One", labels={"team": "search"})
    await ended(suite, task.task_id)

    found = await session(suite, task.session_id)
    assert (found.owner, found.on_busy, found.turns) == ("local", "reject", 1)
    assert found.last_task_id == task.task_id
    assert dict(found.labels) == {"team": "search"}
    assert await messages(suite, task.session_id) == [(1, "user", "One"), (2, "assistant", "One")]


async def test_what_a_canceled_task_had_said_counts_as_its_answer(suite: Suite) -> None:
    task = await begun(suite, "One\nsleep:5000")
    await suite.stub.CancelTask(pb.CancelTaskRequest(task_id=task.task_id), timeout=5)
    await said(suite, "fail?", task.session_id)

    assert await messages(suite, task.session_id) == [
        (1, "user", "One\nsleep:5000"),
        (3, "user", "fail?"),
        (4, "assistant", "fail?"),
    ]


async def test_messages_come_by_pages(suite: Suite) -> None:
    session_id = await said(suite, "1")
    for query in "23":
        await said(suite, query, session_id)

    numbers, token = [], ""
    while True:
        request = ss.ListMessagesRequest(session_id=session_id, page_size=1, page_token=token)
        page = await suite.sessions.ListMessages(request, timeout=5)
        numbers.append([each.message for each in page.messages])
        if not (token := page.next_page_token):
            break

    assert numbers == [[1], [2], [3], [4], [5], [6]]


async def test_sessions_are_listed_newest_first_by_pages_and_by_filter(fresh: Suite) -> None:
    ids = [await said(fresh, "x", labels={"n": str(n)}) for n in range(3)]
    created = await fresh.sessions.CreateSession(
        ss.CreateSessionRequest(labels={"n": "3"}), metadata=HERS
    )
    ids.append(created.session_id)

    first = await fresh.sessions.ListSessions(ss.ListSessionsRequest(page_size=3))
    rest = await listed(fresh, page_size=3, page_token=first.next_page_token)

    assert [each.session_id for each in first.sessions] == ids[:0:-1]
    assert rest == ids[:1]
    assert await listed(fresh, filter="owner = her") == ids[3:]
    assert await listed(fresh, filter='labels.n = "1" OR labels.n = "2"') == [ids[2], ids[1]]
    assert await listed(fresh, filter="update_time > 2999-01-01") == []


async def test_a_page_of_sessions_with_many_labels_fits_into_an_answer() -> None:
    labels = {f"{number:02}" + "k" * 60: "v" * 256 for number in range(16)}
    async with started() as alone:
        for _ in range(800):
            await alone.sessions.CreateSession(ss.CreateSessionRequest(labels=labels), timeout=5)
        shown, token = [], ""
        while not shown or token:
            request = ss.ListSessionsRequest(page_size=1000, page_token=token)
            page = await alone.sessions.ListSessions(request, timeout=5)
            shown += [each.session_id for each in page.sessions]
            token = page.next_page_token

    assert len(shown) == len(set(shown)) == 800


async def test_a_session_can_be_created_once_beforehand(suite: Suite) -> None:
    request = ss.CreateSessionRequest(
        on_busy="enqueue", labels={"a": "b"}, idempotency_key="session-1"
    )
    one, two = await asyncio.gather(
        *(suite.sessions.CreateSession(request, timeout=5) for _ in range(2))
    )
    alone = await prompt_tokens(suite, "Hello")
    first = await prompt_tokens(suite, "Hello", one.session_id)

    assert one == two
    assert (one.on_busy, one.turns, dict(one.labels)) == ("enqueue", 0, {"a": "b"})
    assert first == alone
    request.on_busy = "reject"
    again = refused(suite.sessions.CreateSession(request, timeout=5))
    assert await again == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")


async def test_a_deleted_session_is_gone_and_its_tasks_stay(suite: Suite) -> None:
    task = await begun(suite, "Hello")
    await ended(suite, task.task_id)
    await delete(suite, task.session_id)

    asked = pb.InvokeRequest(query="x", session_id=task.session_id)
    assert await refused(session(suite, task.session_id)) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert await refused(delete(suite, task.session_id)) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert await refused(suite.stub.Invoke(asked, timeout=5)) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert task.session_id not in await listed(suite)
    assert (await ended(suite, task.task_id)).result == "Hello"


async def test_deleting_a_session_cancels_what_runs_in_it(suite: Suite) -> None:
    task = await begun(suite, "sleep:9000\nx")
    waits = await begun(suite, "y", task.session_id, on_busy="enqueue")
    await delete(suite, task.session_id)

    tasks = [await ended(suite, each.task_id) for each in (task, waits)]
    assert [each.status for each in tasks] == ["canceled", "canceled"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "abc"}, "PAGE_TOKEN_INVALID"),
        ({"filter": "turns = 1"}, "FILTER_INVALID"),
    ],
)
async def test_what_cannot_be_listed_is_refused(
    suite: Suite, fields: dict[str, object], reason: str
) -> None:
    assert await refused(listed(suite, **fields)) == ("INVALID_ARGUMENT", reason)


@pytest.mark.parametrize(
    "fields", [{"on_busy": "wait"}, {"labels": {"a b": "c"}}, {"idempotency_key": "k" * 257}]
)
async def test_what_is_no_session_is_refused(suite: Suite, fields: dict[str, object]) -> None:
    creating = suite.sessions.CreateSession(ss.CreateSessionRequest(**fields), timeout=5)

    assert await refused(creating) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


@pytest.mark.parametrize("session_id", ["session_1", "task_1", "x" * 64])
async def test_a_turn_needs_a_session_that_exists(suite: Suite, session_id: str) -> None:
    asked = pb.InvokeRequest(query="x", session_id=session_id)

    assert await refused(suite.stub.Invoke(asked, timeout=5)) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert await refused(messages(suite, session_id)) == ("NOT_FOUND", "SESSION_NOT_FOUND")


@pytest.mark.parametrize("fields", [{"session_id": "x" * 65}, {"on_busy": "wait"}])
async def test_a_turn_that_says_nonsense_is_refused(
    suite: Suite, fields: dict[str, object]
) -> None:
    asked = suite.stub.Invoke(pb.InvokeRequest(query="x", **fields), timeout=5)

    assert await refused(asked) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def test_sessions_are_their_tenants_own(suite: Suite) -> None:
    session_id = await said(suite, "x")
    asked = pb.InvokeRequest(query="x", session_id=session_id)

    seen = suite.stub.Invoke(asked, metadata=THEIRS, timeout=5)
    theirs = await suite.sessions.ListSessions(ss.ListSessionsRequest(), metadata=THEIRS)

    assert await refused(seen) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert list(theirs.sessions) == []


async def forked(suite: Suite, session_id: str, message: int = 0, **fields: object) -> ss.Session:
    request = ss.ForkSessionRequest(session_id=session_id, message=message, **fields)
    return await suite.sessions.ForkSession(request, timeout=5)


async def test_a_fork_goes_on_from_a_message_by_itself(suite: Suite) -> None:
    session_id = await said(suite, "1", labels={"a": "b"}, on_busy="enqueue")
    for query in "23":
        await said(suite, query, session_id)
    fork = await forked(suite, session_id, 4)
    await said(suite, "other", fork.session_id)
    await said(suite, "4", session_id)
    await delete(suite, session_id)

    assert (fork.forked_from, fork.on_busy, dict(fork.labels)) == (
        session_id,
        "enqueue",
        {"a": "b"},
    )
    assert await messages(suite, fork.session_id) == [
        (1, "user", "1"),
        (2, "assistant", "1"),
        (3, "user", "2"),
        (4, "assistant", "2"),
        (5, "user", "other"),
        (6, "assistant", "other"),
    ]


async def test_a_fork_at_a_users_message_has_no_answer_to_it(suite: Suite) -> None:
    alone = await prompt_tokens(suite, "x")
    session_id = await said(suite, "One")
    await said(suite, "Two", session_id)
    fork = await forked(suite, session_id, 3)
    again = await forked(suite, fork.session_id)

    assert [number for number, _, _ in await messages(suite, fork.session_id)] == [1, 2, 3]
    assert await messages(suite, again.session_id) == await messages(suite, fork.session_id)
    assert await prompt_tokens(suite, "x", again.session_id) == alone + 3 * 2


async def test_a_fork_of_what_goes_on_has_the_query_only(suite: Suite) -> None:
    first = await begun(suite, "sleep:300\nlate")
    fork = await forked(suite, first.session_id)
    await said(suite, "x", fork.session_id)
    await ended(suite, first.task_id)

    assert [text for _, _, text in await messages(suite, fork.session_id)] == [
        *("sleep:300\nlate", "x", "x")
    ]


async def test_a_session_without_turns_can_be_forked(suite: Suite) -> None:
    created = await suite.sessions.CreateSession(ss.CreateSessionRequest())
    fork = await forked(suite, created.session_id, labels={"c": "d"}, on_busy="interrupt")

    assert (fork.turns, fork.on_busy, dict(fork.labels)) == (0, "interrupt", {"c": "d"})


async def test_a_repeated_fork_is_the_same_fork(suite: Suite) -> None:
    session_id = await said(suite, "x")

    one = await forked(suite, session_id, idempotency_key="fork-1")
    await delete(suite, session_id)
    two = await forked(suite, session_id, idempotency_key="fork-1")

    assert one == two


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (3, ("NOT_FOUND", "MESSAGE_NOT_FOUND")),
        (-1, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
    ],
)
async def test_a_fork_needs_a_message_that_exists(
    suite: Suite, message: int, why: tuple[str, str]
) -> None:
    session_id = await said(suite, "x")

    assert await refused(forked(suite, session_id, message)) == why
    assert await refused(forked(suite, "session_1", 1)) == ("NOT_FOUND", "SESSION_NOT_FOUND")


async def test_a_session_changes_its_policy_and_its_labels(suite: Suite) -> None:
    session_id = await said(suite, "x", labels={"a": "1", "b": "2"})
    request = ss.UpdateSessionRequest(
        session_id=session_id, on_busy="enqueue", labels={"b": "", "c": "3"}
    )
    one = await suite.sessions.UpdateSession(request, timeout=5)
    two = await suite.sessions.UpdateSession(request, timeout=5)

    assert (one.on_busy, dict(one.labels)) == ("enqueue", {"a": "1", "c": "3"})
    assert one == two == await session(suite, session_id)
    assert await listed(suite, filter='labels.c = "3"') == [session_id]
    assert [number for number, _, _ in await messages(suite, session_id)] == [1, 2]


async def test_a_session_does_not_change_into_nonsense(suite: Suite) -> None:
    session_id = await said(suite, "x", labels={f"l{n}": "x" for n in range(16)})
    before = await session(suite, session_id)

    for fields in ({"on_busy": "wait"}, {"labels": {"one more": "x"}}, {"labels": {"l16": "x"}}):
        request = ss.UpdateSessionRequest(session_id=session_id, **fields)
        why = await refused(suite.sessions.UpdateSession(request, timeout=5))
        assert why == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert await session(suite, session_id) == before


async def test_a_task_that_fails_names_its_session_so_that_it_can_go_on(suite: Suite) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.Invoke(pb.InvokeRequest(query="fail"), timeout=15)
    session_id = info(caught.value).metadata["session_id"]

    assert await said(suite, "x", session_id) == session_id
    assert [text for _, _, text in await messages(suite, session_id)] == ["fail", "x", "x"]
