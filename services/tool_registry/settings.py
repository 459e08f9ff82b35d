"""`TOOL_REGISTRY_…`: what this service can be told."""

from datetime import timedelta

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import SECRETS, Duration, ServerSettings


class LimitSettings(BaseModel, frozen=True):
    """What calls may take at most."""

    calls: int = Field(256, ge=1)  # At a time, of all tools.
    calls_per_tool: int = Field(64, ge=1)  # And tenant; a tool itself may allow fewer.
    tenant_share: float = Field(0.75, gt=0, le=1)  # Of `calls`, for one tenant at most.
    result_bytes: int = Field(2 * 1024 * 1024, ge=1)  # As JSON; a message has at most 4 MiB.
    retry_after: Duration = Field(timedelta(milliseconds=100), gt=timedelta(0))


class CircuitSettings(BaseModel, frozen=True):
    """When a tool whose target fails is no longer tried, and for how long."""

    failures: int = Field(5, ge=1)  # In a row.
    pause: Duration = Field(timedelta(seconds=10), gt=timedelta(0))  # Doubled while it fails.
    longest_pause: Duration = Field(timedelta(minutes=5), gt=timedelta(0))


class Settings(BaseSettings):
    """The tool registry's settings."""

    model_config = SettingsConfigDict(
        env_prefix="TOOL_REGISTRY_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    server: ServerSettings = ServerSettings(listen="127.0.0.1:8083")
    limits: LimitSettings = LimitSettings()
    circuit: CircuitSettings = CircuitSettings()
    approval: frozenset[str] = frozenset()  # Tools whose calls by agents need an approval, as JSON.
