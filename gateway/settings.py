"""`GATEWAY_…` variables."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.chassis.settings import (
    SECRETS,
    AdminToken,
    ClientSettings,
    Duration,
    Key,
    ProcessSettings,
)

_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s,*]+")
_HOST: Final = re.compile(r"\*|([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def _listed(value: object) -> object:
    """`a, b`: what people write for a list."""
    if isinstance(value, str):
        return [part.strip().lower() for part in value.split(",") if part.strip()]
    return value


def _origins(values: frozenset[str]) -> frozenset[str]:
    if bad := sorted(each for each in values if not _ORIGIN.fullmatch(each)):
        raise ValueError(f"has {bad[0]}, which is no origin such as https://app.example:8443")
    return values


def _hosts(values: frozenset[str]) -> frozenset[str]:
    if bad := sorted(each for each in values if not _HOST.fullmatch(each)):
        raise ValueError(f"has {bad[0]}, which is no host such as app.example or [::1]:8080")
    return values


Origins = Annotated[frozenset[str], NoDecode, BeforeValidator(_listed), AfterValidator(_origins)]
"""Origins as a setting, with commas between; `*` for all."""
Hosts = Annotated[frozenset[str], NoDecode, BeforeValidator(_listed), AfterValidator(_hosts)]
"""Host names as a setting, with or without a port, with commas between; `*` for all."""


Shared = ProcessSettings
"""What this process reads of the suite's settings."""


class DeadlineSettings(BaseModel, frozen=True):
    """How long a call may take when its caller does not say."""

    read: Duration = timedelta(seconds=5)
    effect: Duration = timedelta(seconds=30)
    stream: Duration = timedelta(seconds=300)
    maximum: Duration = timedelta(seconds=300)  # Longer wishes are cut to this.


class LimitSettings(BaseModel, frozen=True):
    """How much of this process one client, or all together, may take."""

    max_body_bytes: int = Field(2 * 1024 * 1024, ge=1024)
    max_head_bytes: int = Field(32 * 1024, ge=1024)  # Request line and headers together.
    max_requests: int = Field(2048, ge=1)  # At the same time; more are shed with 503.
    max_connections: int = Field(8192, ge=1)
    head_timeout: Duration = timedelta(seconds=10)
    body_timeout: Duration = timedelta(seconds=30)
    stall_timeout: Duration = timedelta(seconds=90)  # For clients that do not read their answer.
    pong_timeout: Duration = timedelta(seconds=20)  # For WebSockets whose client answers no ping.


class McpSettings(BaseModel, frozen=True):
    """How `/mcp` serves."""

    list_ttl: Duration = Field(timedelta(seconds=1), ge=timedelta(0))  # Of lists, as shown.
    call_ttl: Duration = Field(timedelta(seconds=5), ge=timedelta(0))  # Of them, as calls use them.
    session_ttl: Duration = Field(
        timedelta(days=7), ge=timedelta(minutes=1)
    )  # Of clients before 2026-07.
    max_listeners: int = Field(256, ge=4)  # A tenant has a quarter of them at most.


class Settings(BaseSettings):
    """Where the edge listens, whom it calls, and within which bounds."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        validate_by_name=True,
        frozen=True,
    )

    page_token_key: Key = Field(validation_alias="RUNPLANE_PAGE_TOKEN_KEY")  # As the services'.
    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:0"  # Plain HTTP: /livez, /readyz, /metrics, /loglevel.
    admin_token: AdminToken | None = None  # For /loglevel; absent: from this machine only.
    inference: ClientSettings = ClientSettings(target="127.0.0.1:8082")
    orchestrator: ClientSettings = ClientSettings(target="127.0.0.1:8081")
    tool_registry: ClientSettings = ClientSettings(target="127.0.0.1:8083")
    workflow: ClientSettings = ClientSettings(target="127.0.0.1:8084")
    deadlines: DeadlineSettings = DeadlineSettings()
    limits: LimitSettings = LimitSettings()
    mcp: McpSettings = McpSettings()
    follow_traces: bool = True  # Of clients; false: each request begins one, linked to theirs.
    heartbeat: Duration = timedelta(seconds=15)  # On an idle event stream; pings of WebSockets.
    allowed_origins: Origins = frozenset()  # Of pages elsewhere that may do more than read.
    allowed_hosts: Hosts = frozenset()  # Names to answer to. None: all, on loopback its own.
    grace: Duration = timedelta(seconds=20)  # Below Kubernetes' 30 s before SIGKILL.
