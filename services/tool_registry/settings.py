"""`TOOL_REGISTRY_…`: what this service can be told."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.egress.settings import (
    EgressSettings,
    StoredSecretSettings,
    of_environment,
)
from services.chassis.settings import SECRETS, Duration, ServerSettings

_OF_SECRETS: Final = "TOOL_REGISTRY_SECRET_"


class LimitSettings(BaseModel, frozen=True):
    """What calls may take at most."""

    calls: int = Field(256, ge=1)  # At a time, of all tools.
    calls_per_tool: int = Field(64, ge=1)  # And tenant; a tool itself may allow fewer.
    tenant_share: float = Field(0.75, gt=0, le=1)  # Of `calls`, for one tenant at most.
    result_bytes: int = Field(2 * 1024 * 1024, ge=1)  # As JSON; a message has at most 4 MiB.
    retry_after: Duration = Field(timedelta(milliseconds=100), gt=timedelta(0))


class RegistrySettings(BaseModel, frozen=True):
    """How much there may be, and how fresh it is."""

    tools: int = Field(10_000, ge=1)  # Of one tenant, beside those that are built in.
    versions: int = Field(1_000, ge=1)  # Of one tool.
    cache_size: int = Field(1024, ge=1)  # Tools that are kept ready to be called.


class CircuitSettings(BaseModel, frozen=True):
    """When a tool whose target fails is no longer tried, and for how long."""

    failures: int = Field(5, ge=1)  # In a row.
    pause: Duration = Field(timedelta(seconds=10), gt=timedelta(0))  # Doubled while it fails.
    longest_pause: Duration = Field(timedelta(minutes=5), gt=timedelta(0))


class SecretSettings(StoredSecretSettings, frozen=True):
    """Where the secrets are that tools name."""

    # TOOL_REGISTRY_SECRET_NAME, for the tenant `default`.
    environment: Mapping[str, SecretStr] = Field(
        default_factory=partial(of_environment, _OF_SECRETS)
    )


class McpSettings(BaseModel, frozen=True):
    """Which MCP servers there may be."""

    # Whether programs are started that speak over their input and output. They can do what this
    # process can: for a laptop, and where whoever registers servers may run programs anyway.
    stdio: bool = False


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
    registry: RegistrySettings = RegistrySettings()
    cache_ttl: Duration = timedelta(seconds=2)  # How late another process's changes are seen.
    circuit: CircuitSettings = CircuitSettings()
    egress: EgressSettings = EgressSettings()
    secrets: SecretSettings = Field(default_factory=SecretSettings)
    mcp: McpSettings = McpSettings()
    approval: frozenset[str] = frozenset()  # Tools whose calls by agents need an approval, as JSON.
