"""`WORKFLOW_…`."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import SECRETS, ClientSettings, Duration, ServerSettings


class WorkerSettings(BaseModel, frozen=True):
    """How much is worked on, and how often is looked around."""

    max_running: int = Field(256, ge=1)
    lease: Duration = Field(timedelta(seconds=8), gt=timedelta(0))  # Then another takes it up.
    look: Duration = Field(timedelta(milliseconds=500), gt=timedelta(0))  # For what is due.


class DefinitionSettings(BaseModel, frozen=True):
    """How many there may be."""

    most: int = Field(1000, ge=1)  # Of one tenant.
    versions: int = Field(1000, ge=1)  # Of one definition.


class EventSettings(BaseModel, frozen=True):
    """What the event bus is told, and what comes in from it."""

    format: Literal["json", "protobuf"] = "json"  # Of what is published.
    most_per_partition: int = Field(1000, ge=1)  # That the bus has not been told yet; then shed.
    inbound: str = Field(  # ALIAS/TOPIC of events that are signalled to workflows.
        "events/workflow-signals", pattern=r"^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9._-]{1,200}$"
    )


class VerifySettings(BaseModel, frozen=True):
    """How workflows are held against their events."""

    interval: Duration = Field(timedelta(seconds=30), ge=timedelta(0))  # 0: not at all.
    most: int = Field(500, ge=1)  # Read whole in each interval.
    full: Duration = Field(timedelta(hours=24), gt=timedelta(0))  # Those too that seem unchanged.


class Settings(BaseSettings):
    """The workflow service's settings."""

    model_config = SettingsConfigDict(
        env_prefix="WORKFLOW_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    server: ServerSettings = ServerSettings(listen="127.0.0.1:8084")
    tool_registry: ClientSettings = ClientSettings(target="127.0.0.1:8083")
    orchestrator: ClientSettings = ClientSettings(target="127.0.0.1:8081")
    worker: WorkerSettings = WorkerSettings()
    definitions: DefinitionSettings = DefinitionSettings()
    verify: VerifySettings = VerifySettings()
    events: EventSettings = EventSettings()
