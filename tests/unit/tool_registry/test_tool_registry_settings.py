"""Settings that would not work are refused before anything starts."""

import pytest
from pydantic import ValidationError

from services.tool_registry.settings import Settings


def test_every_setting_has_a_default() -> None:
    assert Settings().limits.calls >= Settings().limits.calls_per_tool


@pytest.mark.parametrize("name", ["CALLS", "CALLS_PER_TOOL", "RESULT_BYTES", "RETRY_AFTER"])
def test_a_limit_of_nothing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TOOL_REGISTRY_LIMITS__{name}", "0")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert caught.value.errors()[0]["loc"] == ("limits", name.lower())
