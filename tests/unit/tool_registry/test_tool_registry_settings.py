"""Settings that would not work are refused before anything starts."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.tool_registry.domain.circuit import Policy
from services.tool_registry.settings import Settings


def test_every_setting_has_a_default() -> None:
    assert Settings().limits.calls >= Settings().limits.calls_per_tool


@pytest.mark.parametrize(
    "name", ["CALLS", "CALLS_PER_TOOL", "RESULT_BYTES", "RETRY_AFTER", "TENANT_SHARE"]
)
def test_a_limit_of_nothing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TOOL_REGISTRY_LIMITS__{name}", "0")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert caught.value.errors()[0]["loc"] == ("limits", name.lower())


@pytest.mark.parametrize("name", ["FAILURES", "PAUSE", "LONGEST_PAUSE"])
def test_a_circuit_that_never_opens_or_never_tries_again_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TOOL_REGISTRY_CIRCUIT__{name}", "0")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert caught.value.errors()[0]["loc"] == ("circuit", name.lower())


def test_circuits_have_the_pauses_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_REGISTRY_CIRCUIT__PAUSE", "500ms")

    assert Policy(**Settings().circuit.model_dump()) == Policy(pause=timedelta(milliseconds=500))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "not a host", "127.1"])
def test_a_way_out_that_is_no_range_and_no_host_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOL_REGISTRY_EGRESS__ALLOW", text)

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert caught.value.errors()[0]["loc"] == ("egress", "allow")


def test_secrets_of_the_environment_are_read_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_REGISTRY_SECRET_MY_KEY", "s3cret")
    monkeypatch.setenv("TOOL_REGISTRY_SECRETS__FOLDER", "/run/tools")

    secrets = Settings().secrets

    assert secrets.environment["MY_KEY"].get_secret_value() == "s3cret"
    assert str(secrets.folder) == "/run/tools"
    assert "s3cret" not in repr(secrets)
