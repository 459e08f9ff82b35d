"""A look from outside at what is broken on purpose: it ends, tells no secret, changes nothing."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import PLAIN
from tests.servers.misbehaving import Behaviour, misbehaving, silent

KEY = "5" * 64
SECRET = "hunter2"  # noqa: S105 - that of no one
NEEDED = {"RUNPLANE_PAGE_TOKEN_KEY": KEY, "ORCHESTRATOR_MARK_KEY": KEY}
JUNK = b"\x16\x03\x01\xff\x00E\x00\x00\x00\x08" + bytes(range(256)) * 16
PATIENCE_SECONDS = 25
"""The command waits for 30."""


def asked(
    service: str, command: str, environment: Mapping[str, str] | Mapping[bytes, bytes]
) -> dict[str, Any]:
    """What is said; nothing of it is a secret."""
    told = {os.fsencode(name): os.fsencode(value) for name, value in (PLAIN | NEEDED).items()}
    told |= {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    line = [sys.executable, "-m", "services.chassis.inspection", service, command]
    done = subprocess.run(
        line, env=told, capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert SECRET.encode() not in done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def wrong(answer: Mapping[str, Any]) -> set[str]:
    """The checks that found an error."""
    return {each["check"] for each in answer["findings"] if each["level"] == "error"}


def talks_junk(connection: socket.socket) -> None:
    """Says what nobody asked for."""
    connection.sendall(JUNK)
    silent(connection)


def never_ends(connection: socket.socket) -> None:
    """An HTTP answer without an end."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def stores_at(place: str) -> dict[str, str]:
    """All that a service can be told to use, there."""
    return {
        "RUNPLANE_EVENT_STORE": f"postgresql://me:{SECRET}@{place}/db",
        "RUNPLANE_HOT_STORE": f"redis://:{SECRET}@{place}/0",
        "RUNPLANE_EVENT_BUS": f"kafka://me:{SECRET}@{place}?sasl=plain",
        "RUNPLANE_EVENT_BUSES": json.dumps({"other": f"kafka://me:{SECRET}@{place}?sasl=plain"}),
        "RUNPLANE_OBJECT_STORE": "s3://bucket/prefix",
        "AWS_ENDPOINT_URL": f"http://{place}",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


@pytest.mark.parametrize("handle", [silent, talks_junk], ids=["silent", "junk"])
def test_stores_that_do_not_answer_are_all_told_in_time(
    handle: Behaviour,
) -> None:
    with misbehaving(handle) as place:
        answer = asked("services.workflow", "check", stores_at(place))

    stores = {"event store", "hot store", "object store", "event bus events", "event bus other"}
    assert stores <= wrong(answer)


@pytest.mark.parametrize("handle", [silent, talks_junk], ids=["silent", "junk"])
def test_an_upstream_that_does_not_answer_is_told(handle: Behaviour) -> None:
    with misbehaving(handle) as place:
        answer = asked("services.inference", "check", upstream(place))

    assert "upstream" in wrong(answer)


def test_of_an_answer_without_an_end_only_the_beginning_is_read() -> None:
    with misbehaving(never_ends) as place:
        answer = asked("services.inference", "check", upstream(place))

    assert not wrong(answer)


def upstream(place: str) -> dict[str, str]:
    """A model elsewhere."""
    return {
        "INFERENCE_ENGINE": "openai",
        "INFERENCE_OPENAI__URL": f"http://{place}/v1",
        "INFERENCE_OPENAI__MODEL": "m",
        "INFERENCE_OPENAI__API_KEY": SECRET,
    }


@pytest.mark.parametrize(
    ("service", "variable"),
    [("inference", "INFERENCE_MODELS"), ("orchestrator", "ORCHESTRATOR_ROUTES")],
)
def test_a_pipe_that_nobody_writes_to_holds_nothing_else_up(
    tmp_path: Path, service: str, variable: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    answer = asked(f"services.{service}", "check", {variable: str(pipe)})

    assert wrong(answer) == {service}
    assert "event store" in {each["check"] for each in answer["findings"]}


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("config", b"INFERENCE_ECHO__DELAY", b"\xff\xfe\x1b[31m"),
        ("check", b"RUNPLANE_EVENT_STORE", b"sqlite:////tmp/\xff"),
        ("config", b"INFERENCE_\xff\x1b]0;x\x07", b"\x80"),
        ("config", b"INFERENCE_ECHO", b"[" * 100_000),
        ("check", b"INFERENCE_ECHO", b'{"slots": ' + b"[" * 100_000),
        ("config", b"RUNPLANE_EVENT_BUSES", b'{"a": "kafka://u:hunter2'),
        (
            "config",
            b"INFERENCE_VLLM__ARGUMENTS",
            b'{"hf_token": "hunter2", "a": [{"key": "hunter2"}]}',
        ),
        ("config", b"RUNPLANE_HOT_STORE", b"redis://me:hun ter2:/@?hunter2@127.0.0.1:1/0"),
        ("check", b"RUNPLANE_HOT_STORE", b"redis://me:hun ter2:/@?hunter2@127.0.0.1:1/0"),
        ("check", b"RUNPLANE_HOT_STORE", b"redis://127.0.0.1:1/hunter?passwor%64=hunter2"),
        ("check", b"RUNPLANE_HOT_STORE", b"redis://127.0.0.1:1/0?nobody_knows=1"),
        ("check", b"RUNPLANE_EVENT_STORE", b"postgresql://me:hunter2#x@127.0.0.1:1/db"),
        ("check", b"RUNPLANE_OBJECT_STORE", b"file:///" + b"a" * 100_000),
        ("check", b"INFERENCE_SERVER__LISTEN", b"a" * 300 + b".example:80"),
        ("config", b"INFERENCE_EGRESS__ALLOW", b"x" * 120_000),
        ("config", b"INFERENCE_MODELS_DIR", b"://" * 40_000),
        ("config", b"RUNPLANE_TELEMETRY_HEADERS", b"authorization=hunter2"),
    ],
    ids=lambda each: each[:24].decode(errors="replace") if isinstance(each, bytes) else each,
)
def test_whatever_is_set_is_answered_as_json_and_not_believed(
    command: str, name: bytes, value: bytes
) -> None:
    answer = asked("services.inference", command, {b"INFERENCE_ENGINE": b"echo", name: value})

    assert answer["service"] == "inference"


def test_thousands_of_variables_that_nothing_reads_are_not_all_told() -> None:
    stray = {f"INFERENCE_NO_{'SUCH_THING_' * 3}{number}": "" for number in range(4_000)}

    answer = asked("services.inference", "config", stray)

    assert len(answer["unknown"]) == 50


@pytest.mark.parametrize("variable", ["RUNPLANE_EVENT_STORE", "RUNPLANE_OBJECT_STORE"])
def test_links_that_lead_round_are_told(tmp_path: Path, variable: str) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    scheme = "sqlite" if "EVENT" in variable else "file"

    answer = asked("services.orchestrator", "check", {variable: f"{scheme}:///{tmp_path}/a/deep"})

    assert len(wrong(answer)) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


def test_a_look_at_what_a_crash_left_adds_no_file(tmp_path: Path) -> None:
    """What was written, without the index beside it that is there while somebody has it open."""
    with closing(sqlite3.connect(tmp_path / "live.db")) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table events (n)")
        db.execute("pragma user_version = 1")
        db.commit()
        folder = tmp_path / "left"
        folder.mkdir()
        for end in ("", "-wal"):
            (folder / f"workflow.db{end}").write_bytes((tmp_path / f"live.db{end}").read_bytes())
    before = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}

    answer = asked("services.workflow", "check", {"RUNPLANE_EVENT_STORE": f"sqlite:///{folder}"})

    (schema,) = (each for each in answer["findings"] if each["check"] == "schema")
    assert "has 1 of" in schema["message"]
    assert {each.name: each.stat().st_mtime_ns for each in folder.iterdir()} == before


def test_a_module_that_is_no_service_is_a_usage_error() -> None:
    line = [sys.executable, "-m", "services.chassis.inspection", "nonsense", "check"]

    done = subprocess.run(line, capture_output=True, check=False, timeout=PATIENCE_SECONDS)

    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
