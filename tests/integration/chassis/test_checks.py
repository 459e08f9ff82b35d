"""What a look from outside finds, against real servers and real broken things."""

import asyncio
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.chassis.eventlog.open import event_store as opened
from services.chassis.inspection import check
from services.chassis.inspection.checks import events, others
from services.chassis.inspection.checks.ports import port
from services.chassis.inspection.finding import Finding, Level
from services.chassis.inspection.service import service
from services.chassis.settings import AwsSettings
from services.inference.checks import checks as inference
from services.inference.settings import LlamacppSettings, OpenAISettings, Settings
from tests.servers.kafka import kafka
from tests.servers.ports import free
from tests.servers.postgres import Postgres, postgres
from tests.servers.redis import redis


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL that asks for passwords."""
    with postgres() as server:
        asyncio.run(_with_passwords(server))
        yield server


async def _with_passwords(server: Postgres) -> None:
    connection = await asyncpg.connect(server.url)
    await connection.execute("alter user postgres password 'right'")
    rule = "host all all 127.0.0.1/32 scram-sha-256\n"
    (server.home / "data" / "pg_hba.conf").write_text(rule)
    await connection.execute("select pg_reload_conf()")
    await connection.close()


def with_password(server: Postgres, password: str) -> str:
    return server.url.replace("postgres@", f"postgres:{password}@", 1)


def worst(found: list[Finding]) -> Finding:
    return max(found, key=lambda each: list(Level).index(each.level))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere, so that nothing could be seen."""
    if os.getuid():
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder in which nobody can write."""
    tmp_path.chmod(0o555)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_a_wrong_password_is_told_without_it(database: Postgres) -> None:
    found = await events.event_store(with_password(database, "hunter2"), "workflow")

    assert [each.level for each in found] == [Level.ERROR]
    assert "RUNPLANE_EVENT_STORE" in found[0].fix
    assert "hunter2" not in repr(found)


async def test_a_database_that_is_not_there_is_told(database: Postgres) -> None:
    url = with_password(database, "right").replace("/postgres", "/absent")

    found = await events.event_store(url, "workflow")

    assert [each.level for each in found] == [Level.ERROR]


async def test_a_look_at_a_database_makes_nothing(database: Postgres) -> None:
    url = with_password(database, "right")

    found = await events.event_store(url, "tool_registry")

    assert {each.level for each in found} == {Level.OK}
    connection = await asyncpg.connect(url)
    made = await connection.fetchval("select to_regnamespace('tool_registry')")
    await connection.close()
    assert made is None


async def test_a_schema_that_nobody_will_bring_up_to_date_is_an_error(database: Postgres) -> None:
    url = with_password(database, "right")

    before = await events.event_store(url, "inference", migrates=False)
    async with opened(url, service="inference"):
        pass
    after = await events.event_store(url, "inference", migrates=False)

    assert (worst(before).level, worst(before).check) == (Level.ERROR, "schema")
    assert worst(after).level == Level.OK


async def test_a_clock_that_is_ahead_is_told(database: Postgres) -> None:
    def ahead() -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)

    found = await events.event_store(with_password(database, "right"), "workflow", now=ahead)

    assert (worst(found).level, worst(found).check) == (Level.ERROR, "clock")
    assert "ahead" in worst(found).message


async def test_a_dead_redis_is_told_and_a_live_one_is_fine() -> None:
    with redis() as server:
        alive = await others.hot_store(server.url)
        server.stop()
        dead = await others.hot_store(server.url)

    assert {each.level for each in alive} == {Level.OK}
    assert [each.level for each in dead] == [Level.ERROR]


async def test_a_dead_kafka_is_told_and_a_live_one_is_fine() -> None:
    with kafka() as server:
        alive = await others.event_bus("events", server.url, "", "")
        server.stop()
        dead = await others.event_bus("events", server.url, "", "")

    assert [each.level for each in alive] == [Level.OK]
    assert [each.level for each in dead] == [Level.ERROR]


async def test_an_object_store_that_nobody_answers_for_is_told() -> None:
    aws = AwsSettings(endpoint_url=f"http://127.0.0.1:{free()}", access_key_id="me")

    found = await others.object_store("s3://bucket", aws)

    assert [each.level for each in found] == [Level.ERROR]


async def test_a_folder_that_cannot_be_written_is_told(closed: Path) -> None:
    with as_nobody():
        found = await events.event_store(f"sqlite:///{closed}", "workflow")
        large = await others.object_store(closed.as_uri(), AwsSettings())

    assert [each.level for each in [*found, *large]] == [Level.ERROR, Level.ERROR]


async def test_a_file_that_is_somebody_elses_is_told() -> None:
    with tempfile.TemporaryDirectory() as folder:  # Unlike pytest's, others can reach it.
        if not os.getuid():
            shutil.chown(folder, "nobody")
        url = f"sqlite:///{folder}"
        async with opened(url, service="workflow"):
            pass
        os.chmod(f"{folder}/workflow.db", 0o444)
        with as_nobody():
            found = await events.event_store(url, "workflow")

    assert [each.level for each in found] == [Level.ERROR]
    assert "workflow.db" in found[0].message


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "workflow.db").write_bytes(b"not at all" * 1_000)

    found = await events.event_store(f"sqlite:///{tmp_path}", "workflow")

    assert [each.level for each in found] == [Level.ERROR]


async def test_a_look_at_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}"
    async with opened(url, service="workflow"):
        pass
    before = names(tmp_path)

    found = await events.event_store(url, "workflow")

    assert {each.level for each in found} == {Level.OK}
    assert names(tmp_path) == before


async def test_a_file_that_a_service_has_open_can_be_looked_at(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}"

    async with opened(url, service="workflow"):
        found = await events.event_store(url, "workflow")

    assert {each.level for each in found} == {Level.OK}


def test_a_taken_port_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        found = port("INFERENCE_SERVER__LISTEN", f"127.0.0.1:{taken.getsockname()[1]}")

    assert found.level == Level.ERROR
    assert "INFERENCE_SERVER__LISTEN" in found.fix


@pytest.mark.parametrize("content", [b"", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"no model" * 100])
async def test_a_corrupt_model_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    found = await inference(Settings(llamacpp=LlamacppSettings(model_path=path)))

    assert [each.level for each in found] == [Level.ERROR]


async def test_an_upstream_that_nobody_answers_for_is_told() -> None:
    upstream = OpenAISettings(url=f"http://127.0.0.1:{free()}/v1", model="m")

    found = await inference(Settings(engine="openai", openai=upstream))

    assert [each.level for each in found] == [Level.ERROR]


async def test_a_check_that_hears_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SECONDS", 0.05)

    async def silent() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async with asyncio.timeout(5):
        found = await check._within("hot store", silent)

    assert [(each.check, each.level) for each in found] == [("hot store", Level.ERROR)]


@pytest.mark.parametrize(("is_used", "level"), [(True, Level.ERROR), (False, Level.OK)])
async def test_a_store_whose_package_is_not_there_matters_to_a_service_that_uses_it(
    monkeypatch: pytest.MonkeyPatch, is_used: bool, level: Level
) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    found = await check._within(
        "hot store", lambda: others.hot_store("redis://127.0.0.1"), is_used=is_used
    )

    assert [(each.check, each.level) for each in found] == [("hot store", level)]
    assert "redis" in found[0].message


@pytest.mark.parametrize(("module", "uses_it"), [("inference", True), ("tool_registry", False)])
async def test_a_service_says_whether_it_uses_the_store_whose_package_is_not_there(
    monkeypatch: pytest.MonkeyPatch, module: str, uses_it: bool
) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setenv("RUNPLANE_PAGE_TOKEN_KEY", "5" * 64)
    monkeypatch.setenv("RUNPLANE_HOT_STORE", "redis://127.0.0.1")

    found = await check.checked(service(f"services.{module}"), is_running=True)

    (hot,) = [each for each in found if each.check == "hot store"]
    assert (hot.level is Level.ERROR) is uses_it
