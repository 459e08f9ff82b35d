"""What settings come to, and that nobody sees a secret."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.inspection.effective import Sources, effective, masked, unread_files


class Inner(BaseModel, frozen=True):
    key: SecretStr | None = None
    slots: int = 4


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TESTER_", env_nested_delimiter="__")

    url: str = "memory:"
    inner: Inner = Inner()
    arguments: Mapping[str, Any] = {}


def shown(settings: Settings, secrets: Path | None = None, **environment: str) -> dict[str, Any]:
    found = effective(settings, Sources(environment, secrets))
    return {each.name: (each.value, each.source, each.variable) for each in found}


def test_each_setting_says_where_it_is_from() -> None:
    found = shown(Settings(inner=Inner(slots=8)), TESTER_INNER__SLOTS="8")

    assert found["TESTER_INNER__SLOTS"] == (8, "environment", "TESTER_INNER__SLOTS")
    assert found["TESTER_URL"] == ("memory:", "default", None)


def test_a_group_in_one_variable_sets_what_it_holds_and_nothing_else() -> None:
    found = shown(Settings(inner=Inner(slots=8)), TESTER_INNER='{"slots": 8}')

    assert found["TESTER_INNER__SLOTS"] == (8, "environment", "TESTER_INNER")
    assert found["TESTER_INNER__KEY"] == (None, "default", None)


def test_a_secret_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tester_url").write_text("redis://here")

    found = shown(Settings(url="redis://here"), tmp_path)

    assert found["TESTER_URL"] == ("redis://here", "secret file", str(tmp_path / "tester_url"))


def test_a_secret_file_that_no_setting_is_read_from_is_told(tmp_path: Path) -> None:
    (tmp_path / "tester_inner__key").write_text("x")
    (tmp_path / "tester_url").write_text("memory:")

    assert unread_files(tmp_path, [Settings]) == ["tester_inner__key"]


def test_secrets_are_masked_wherever_they_are() -> None:
    settings = Settings(
        url="redis://me:hunter2@host:1/0",
        inner=Inner(key=SecretStr("hunter2")),
        arguments={"hf_token": "hunter2", "deep": [{"password": "hunter2"}], "dtype": "auto"},
    )

    found = shown(settings)

    assert "hunter2" not in repr(found)
    assert found["TESTER_URL"][0] == "redis://me:…@host:1/0"
    assert found["TESTER_ARGUMENTS"][0]["dtype"] == "auto"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://me:p%40ss@h/db", "postgresql://me:…@h/db"),
        ("postgresql://me:a/b@c@h/db", "postgresql://me:…@h/db"),
        ("postgresql://me:a b\nc@h/db", "postgresql://me:…@h/db"),
        ("postgresql://u/s:pw@h/db", "postgresql://u/s:…@h/db"),
        ("postgresql://me@h/db", "postgresql://me@h/db"),
        ("https://token@h/v1", "https://…@h/v1"),
        ("redis://h/0?p%61ssword=pw", "redis://h/0?p%61ssword=…"),
        ("https://h/v1?sig=pw&tokens=3", "https://h/v1?sig=…&tokens=3"),
        ("redis://:pw@h", "redis://:…@h"),
        ("postgresql://h/db?user=me&password=pw&x=1", "postgresql://h/db?user=me&password=…&x=1"),
        ("https://h/v1", "https://h/v1"),
        ("me:pw@h:6379/0", "me:…@h:6379/0"),
        ("redis:me:pw@h", "redis:…@h"),
        ("pw@h", "…@h"),
        ("h:6379?password=pw", "h:6379?password=…"),
        ("memory:", "memory:"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, seen: str) -> None:
    assert masked(url) == seen
