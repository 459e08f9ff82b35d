"""`ORCHESTRATOR_…`."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import SECRETS, ClientSettings, Duration, Key, ServerSettings


class TaskSettings(BaseModel, frozen=True):
    """What tasks may take, and how many there may be."""

    max_running: int = Field(256, ge=1)
    max_queued: int = Field(1024, ge=0)
    max_query_bytes: int = Field(64 * 1024, ge=1)
    inline_bytes: int = Field(64 * 1024, ge=1024)  # Larger values go to the object store.
    max_text_bytes: int = Field(1024 * 1024, ge=1024)  # Of a query or a message that goes there.
    default_steps: int = Field(8, ge=1, le=32)
    invoke_timeout: Duration = timedelta(seconds=30)  # How long callers of Invoke wait.
    duration: Duration = timedelta(seconds=300)  # How long a task may take.
    max_wait: Duration = timedelta(hours=24)  # How long a task waits for a person or a client.
    linger: Duration = timedelta(seconds=2)  # How long one that waits is kept at hand.
    retry_after: Duration = timedelta(seconds=3)  # When to ask again for one that goes on.
    lease: Duration = Field(timedelta(seconds=8), gt=timedelta(0))  # Then another takes a task up.
    look: Duration = Field(timedelta(seconds=1), gt=timedelta(0))  # For work and letters.


class QuotaSettings(BaseModel, frozen=True, extra="forbid"):
    """What models may take, for every tenant alike."""

    quota_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    scope: Literal["tenant", "agent", "session"] = "tenant"  # Each of them by itself.
    period: Literal["day", "month", "total"] = "month"
    tokens: int | None = Field(None, ge=0)
    cost_usd: float | None = Field(None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.tokens is None and self.cost_usd is None:
            raise ValueError("has neither tokens nor cost_usd; give one of them, or both")
        return self


class SessionSettings(BaseModel, frozen=True):
    """What tasks are told of the turns before them."""

    history_share: float = Field(0.5, ge=0, le=0.9)  # Of what a request leaves of the window.


class BalanceSettings(BaseModel, frozen=True):
    """How generations are shared out among the replicas of the inference service."""

    refresh: Duration = Field(timedelta(seconds=5), gt=timedelta(0))  # Of their addresses.
    leave_out: Duration = Field(timedelta(seconds=5), ge=timedelta(0))  # One out of reach.
    hot_tokens: int = Field(4096, ge=0)  # Beyond the idlest one: sessions then go elsewhere.


class CacheSettings(BaseModel, frozen=True):
    """Turns of models that are kept to be said again."""

    enabled: bool = True
    ttl: Duration = Field(timedelta(hours=1), gt=timedelta(0), le=timedelta(days=7))
    near_bytes: int = Field(64 * 1024 * 1024, ge=0)  # In this process's memory, all of them.
    most_bytes: int = Field(256 * 1024, ge=1024)  # Of one; a larger one is not kept.


class Settings(BaseSettings):
    """The orchestrator's settings."""

    model_config = SettingsConfigDict(
        env_prefix="ORCHESTRATOR_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    server: ServerSettings = ServerSettings(listen="127.0.0.1:8081")
    inference: ClientSettings = ClientSettings(target="127.0.0.1:8082")
    tool_registry: ClientSettings = ClientSettings(target="127.0.0.1:8083")
    mark_key: Key  # 32 bytes in hexadecimal, for continue marks.
    tasks: TaskSettings = TaskSettings()
    sessions: SessionSettings = SessionSettings()
    cache: CacheSettings = CacheSettings()
    quotas: tuple[QuotaSettings, ...] = Field((), max_length=64)  # A JSON list.
    balance: BalanceSettings = BalanceSettings()
    routes: Path | None = None  # A YAML file of routes, which choose models; absent: none.
    catalogue_ttl: Duration = timedelta(seconds=5)  # How old a list of models or tools may be.
