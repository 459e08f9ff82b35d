"""`ORCHESTRATOR_…`."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field
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


class SessionSettings(BaseModel, frozen=True):
    """What tasks are told of the turns before them."""

    history_share: float = Field(0.5, ge=0, le=0.9)  # Of what a request leaves of the window.


class BalanceSettings(BaseModel, frozen=True):
    """How generations are shared out among the replicas of the inference service."""

    refresh: Duration = Field(timedelta(seconds=5), gt=timedelta(0))  # Of their addresses.
    leave_out: Duration = Field(
        timedelta(seconds=5), ge=timedelta(0)
    )  # One that cannot be reached.
    hot_tokens: int = Field(4096, ge=0)  # Beyond the idlest one: sessions then go elsewhere.


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
    balance: BalanceSettings = BalanceSettings()
    routes: Path | None = None  # A YAML file of routes, which choose models; absent: none.
    catalogue_ttl: Duration = timedelta(seconds=5)  # How old a list of models or tools may be.
