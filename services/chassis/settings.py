"""Settings that services share. Each service puts them into a `Settings` of its own."""

from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS: Final = Path("/run/secrets")


class ServerSettings(BaseModel, frozen=True):
    """Where a service listens and how it stops."""

    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"  # Plain HTTP: /livez and /readyz.
    grace: timedelta = timedelta(seconds=20)  # Below Kubernetes' 30 s before SIGKILL.
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024)
    max_concurrent_rpcs: int = Field(4096, ge=1)


class ClientSettings(BaseModel, frozen=True):
    """How a service calls another."""

    target: str
    timeout: timedelta = timedelta(seconds=5)  # For calls that say nothing; reads mostly.
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024)


class LogSettings(BaseModel, frozen=True):
    """What is logged, as JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class SharedSettings(BaseSettings):
    """`RUNPLANE_…`: the same for every service of a suite."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPLANE_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    page_token_key: SecretStr  # 32 bytes in hexadecimal. Secrets have no default.
    event_store: Literal["memory:"] = "memory:"
    hot_store: Literal["memory:"] = "memory:"
    event_bus: Literal["memory:"] = "memory:"
    log: LogSettings = LogSettings()
