"""Secrets: found where they are kept, and kept out of what is said."""

import base64
import json
import logging
import os
from pathlib import Path

import pytest

from services.chassis.egress.secrets import (
    HIDDEN,
    MAX_BYTES,
    Scrub,
    StoredSecrets,
)
from services.chassis.errors import FailedPrecondition

KEY = 'pa"ss/wörd +1'


def stored(folder: Path, **files: str) -> StoredSecrets:
    """Secrets of the tenant `acme`, and one of the environment."""
    (folder / "acme").mkdir()
    for name, text in files.items():
        (folder / "acme" / name).write_text(text)
    return StoredSecrets(folder, {"MY_API_KEY": "from-the-environment"})


async def refused(secrets: StoredSecrets, tenant: str, name: str) -> FailedPrecondition:
    """The refusal of a secret."""
    with pytest.raises(FailedPrecondition) as caught:
        await secrets.get(tenant, name)
    return caught.value


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
async def test_a_file_is_a_secret(tmp_path: Path, end: str) -> None:
    secrets = stored(tmp_path, key=f"s3cret{end}")

    assert await secrets.get("acme", "key") == "s3cret"


async def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    secrets = stored(tmp_path, key="first")
    await secrets.get("acme", "key")

    (tmp_path / "acme" / "key").write_text("second")

    assert await secrets.get("acme", "key") == "second"


async def test_a_link_is_followed_as_kubernetes_lays_them(tmp_path: Path) -> None:
    secrets = stored(tmp_path)
    (tmp_path / "acme" / "..data").mkdir()
    (tmp_path / "acme" / "..data" / "key").write_text("s3cret")
    (tmp_path / "acme" / "key").symlink_to("..data/key")

    assert await secrets.get("acme", "key") == "s3cret"


async def test_the_environment_serves_the_default_tenant_alone(tmp_path: Path) -> None:
    secrets = stored(tmp_path)

    assert await secrets.get("default", "my-api.key") == "from-the-environment"
    assert (await refused(secrets, "acme", "my-api.key")).reason == "SECRET_NOT_FOUND"


@pytest.mark.parametrize(
    ("tenant", "name"),
    [
        ("acme", "other"),
        ("other", "key"),
        ("acme", "../acme/key"),
        ("acme", ".."),
        ("acme", ".hidden"),
        ("acme", "a/b"),
        ("acme", "key\n"),
        ("acme", ""),
        ("acme", "k" * 65),
        ("..", "key"),
        (".", "key"),
        ("", "key"),
        ("acme/..", "key"),
        ("../acme", "key"),
        ("/etc", "passwd"),
        ("acme", "folder"),
    ],
)
async def test_there_is_no_secret_but_the_tenants_own(
    tmp_path: Path, tenant: str, name: str
) -> None:
    secrets = stored(tmp_path, key="s3cret")
    (tmp_path / "acme" / ".hidden").write_text("s3cret")
    (tmp_path / "acme" / "folder").mkdir()
    (tmp_path / "key").write_text("s3cret")

    error = await refused(secrets, tenant, name)

    assert error.reason == "SECRET_NOT_FOUND"
    assert error.metadata["secret"] == name[:64]


@pytest.mark.parametrize("text", ["", "\n", "abc", "two\nlines", "tab\tbed", "x" * (MAX_BYTES + 1)])
async def test_what_is_no_line_of_text_is_no_secret(tmp_path: Path, text: str) -> None:
    error = await refused(stored(tmp_path, key=text), "acme", "key")

    assert error.reason == "SECRET_NOT_FOUND"
    assert not text.strip() or text not in str(error)


async def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    secrets = stored(tmp_path)
    os.mkfifo(tmp_path / "acme" / "key")

    assert (await refused(secrets, "acme", "key")).reason == "SECRET_NOT_FOUND"


async def test_what_cannot_be_read_is_logged_without_what_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = stored(tmp_path)
    (tmp_path / "acme" / "key").write_bytes(b"s3cret\xff")

    with caplog.at_level(logging.DEBUG):
        await refused(secrets, "acme", "key")

    assert [record.message for record in caplog.records] == ["secret cannot be read"]
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        "pa%22ss%2Fw%C3%B6rd%20%2B1",
        "pa%22ss/w%C3%B6rd%20%2B1",
        "pa%22ss%2Fw%C3%B6rd+%2B1",
        base64.b64encode(KEY.encode()).decode(),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
    ],
)
def test_a_secret_is_scrubbed_however_it_is_spelled(spelled: str) -> None:
    assert Scrub([KEY]).text(f"before {spelled} after") == f"before {HIDDEN} after"


def test_what_is_too_short_to_be_told_apart_is_left() -> None:
    assert Scrub(["", "a"]).text("a b c") == "a b c"


def test_the_longer_secret_goes_first() -> None:
    assert Scrub(["password", "user:password"]).text("user:password") == HIDDEN


def test_values_are_scrubbed_within() -> None:
    value = {"a s3cret": ["s3cret!", 1, None, True, 2.5, {"x": "no"}], "n": 12345678}

    assert Scrub(["s3cret", "12345678"]).value(value) == {
        f"a {HIDDEN}": [f"{HIDDEN}!", 1, None, True, 2.5, {"x": "no"}],
        "n": HIDDEN,
    }


def test_a_value_without_end_is_not_followed() -> None:
    value: object = "s3cret"
    for _ in range(200):
        value = [value]

    with pytest.raises(ValueError, match="too deep"):
        Scrub(["s3cret"]).value(value)


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("short", "short"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 20 + "…"),
        ("x" * 15 + "open-sesame", "x" * 15 + "[secr…"),
        ("x" * 15 + "open-sesame" + "y" * 99, "x" * 15 + "[s…"),
        ("open-sesame" * 4, "[secret][se…"),
    ],
)
def test_the_beginning_of_a_text_has_no_part_of_a_secret(text: str, beginning: str) -> None:
    shown = Scrub(["open-sesame"]).beginning(text, 20)

    assert shown == beginning
