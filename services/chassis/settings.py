"""Settings that services share. Each service puts them into a `Settings` of its own."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.levels import MOST_CHANGES, fault

SECRETS: Final = Path("/run/secrets")

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_COLLECTOR: Final = re.compile(  # Without a password, which is a header's.
    r"https?://([^/\s:@\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/|$)"
)
_HEADER: Final = re.compile(r"\s*[A-Za-z0-9_.-]+\s*=[\x20-\x7e]*")
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")


def _seconds(value: object) -> object:
    """`20`, `1.5s`, `500ms`, `5m`: what people write; pydantic knows the rest (`PT20S`)."""
    if isinstance(value, str) and (amount := _AMOUNT.fullmatch(value.strip())):
        return timedelta(seconds=float(amount[1]) * _UNITS[amount[2]])
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""A time span as a setting: seconds, or with a unit (`20`, `500ms`, `5m`), or ISO 8601."""


def _key(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", secret.get_secret_value()):
        raise ValueError("is not 32 bytes in hexadecimal, such as `openssl rand -hex 32` makes")
    return secret


def _event_store(url: str) -> str:
    if not re.match(r"memory:$|sqlite:///.|postgres(ql)?://.", url):
        raise ValueError("is not memory:, sqlite:///DIR or postgresql://…")
    return url


EventStoreUrl = Annotated[str, AfterValidator(_event_store)]
"""Where events are kept, as a setting."""


def _hot_store(url: str) -> str:
    if not re.match(r"memory:$|(redis|rediss|redis\+cluster)://.", url):
        raise ValueError("is not memory:, redis://… or redis+cluster://…")
    return url


HotStoreUrl = Annotated[str, AfterValidator(_hot_store)]
"""Where live fan-out and caches are, as a setting."""


def _object_store(url: str) -> str:
    if not re.match(r"memory:$|file:///.|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$)", url):
        raise ValueError("is not file:///DIR or s3://BUCKET/PREFIX")
    return url


ObjectStoreUrl = Annotated[str, AfterValidator(_object_store)]
"""Where large values are kept, as a setting."""


def _event_bus(url: str) -> str:
    if not re.match(r"memory:$|kafka://.", url):
        raise ValueError("is not memory: or kafka://HOST:PORT")
    return url


EventBusUrl = Annotated[str, AfterValidator(_event_bus)]
"""Where events for other systems go, as a setting."""

AdminToken = Annotated[SecretStr, Field(min_length=16, max_length=256)]
"""What who operates a process sends to its admin port, as a setting."""

Key = Annotated[SecretStr, AfterValidator(_key)]
"""A secret key as a setting."""


class ServerSettings(BaseModel, frozen=True):
    """Where a service listens and how it stops."""

    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"  # Plain HTTP: /livez, /readyz, /metrics, /loglevel.
    admin_token: AdminToken | None = None  # For /loglevel; absent: from this machine only.
    grace: Duration = timedelta(seconds=20)  # Below Kubernetes' 30 s before SIGKILL.
    # Then callers connect anew, and find replicas that have come since. Absent: they need not.
    connection_age: Duration | None = Field(None, ge=timedelta(seconds=1))
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024)
    max_concurrent_rpcs: int = Field(4096, ge=1)


class ClientSettings(BaseModel, frozen=True):
    """How a service calls another."""

    target: str
    timeout: Duration = timedelta(seconds=5)  # For calls that say nothing; reads mostly.
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024)


class LogSettings(BaseModel, frozen=True):
    """What is logged, as JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    levels: Mapping[str, str] = {}  # Of single loggers, as a JSON object: logger, level.

    @field_validator("levels")
    @classmethod
    def _can_be(cls, levels: Mapping[str, str]) -> Mapping[str, str]:
        """Levels that loggers can have, and not too many."""
        if len(levels) > MOST_CHANGES:
            raise ValueError(f"has more than {MOST_CHANGES} loggers")
        for name, level in levels.items():
            if violation := fault(name, level):
                told = f"{violation.message}; {violation.suggested_fix}"
                raise ValueError(f"{name[:200]}={level[:20]}: {told}")
        return levels


def _either(name: str, *others: str) -> AliasChoices:
    return AliasChoices(f"RUNPLANE_TELEMETRY_{name}", *others)


def _otlp(url: str | None) -> str | None:
    if url and not _COLLECTOR.match(url):
        raise ValueError("is not the address of a collector, such as http://127.0.0.1:4317")
    return url or None


def _headers(said: SecretStr) -> SecretStr:
    """What is no header goes to nobody: libraries quote it where they refuse it."""
    for each in filter(str.strip, said.get_secret_value().split(",")):
        if not _HEADER.fullmatch(each):
            raise ValueError("has what is no header, such as authorization=Bearer TOKEN")
    return said


class TelemetrySettings(BaseSettings):
    """`RUNPLANE_TELEMETRY_…`, else `OTEL_…` as every program with OpenTelemetry reads it: where
    traces go. Without an endpoint nothing is recorded."""

    model_config = SettingsConfigDict(
        secrets_dir=SECRETS if SECRETS.is_dir() else None, frozen=True, validate_by_name=True
    )

    endpoint: Annotated[str | None, AfterValidator(_otlp)] = Field(
        None,
        validation_alias=_either(
            "ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
        ),
    )
    protocol: Literal["grpc", "http/protobuf"] = Field(
        "grpc",
        validation_alias=_either(
            "PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
        ),
    )
    headers: Annotated[SecretStr, AfterValidator(_headers)] = Field(  # name=value, with commas.
        SecretStr(""),
        validation_alias=_either(
            "HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"
        ),
    )
    sampler: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = Field("parentbased_always_on", validation_alias=_either("SAMPLER", "OTEL_TRACES_SAMPLER"))
    share: float = Field(  # Of traces, for the samplers with a ratio.
        1.0, ge=0, le=1, validation_alias=_either("SHARE", "OTEL_TRACES_SAMPLER_ARG")
    )
    max_queue: int = Field(8192, ge=512, le=1_000_000, validation_alias=_either("QUEUE"))
    timeout: Duration = Field(  # For one batch.
        timedelta(seconds=5), gt=timedelta(0), validation_alias=_either("TIMEOUT")
    )
    conventions: Literal["latest", "1.36"] = Field(
        "latest", validation_alias=_either("CONVENTIONS")
    )
    content: bool = Field(  # Prompts, answers and what tools are given, as attributes.
        False, validation_alias=_either("CONTENT")
    )


class ProcessSettings(BaseSettings):
    """`RUNPLANE_…`: how every process of a suite runs, the edge's included."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPLANE_", env_nested_delimiter="__", frozen=True
    )

    log: LogSettings = LogSettings()
    scheduling: Literal["batch", "normal"] = "batch"  # `normal` beside an embedded model.
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)


class AwsSettings(BaseSettings):
    """`AWS_…`, as every tool for S3 reads it. Where keys are absent, the client asks for them where
    the process runs: a web identity, the container's or the instance's role."""

    model_config = SettingsConfigDict(
        env_prefix="AWS_",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    region: str | None = None
    default_region: str | None = None
    endpoint_url: str | None = None  # Of what speaks S3's protocol; https, or http on purpose.
    endpoint_url_s3: str | None = None

    @property
    def endpoint(self) -> str | None:
        """Where S3 is, if not where Amazon has it."""
        return self.endpoint_url_s3 or self.endpoint_url

    @property
    def chosen_region(self) -> str:
        """The region that requests are signed for."""
        return self.region or self.default_region or "us-east-1"


class KafkaSettings(BaseSettings):
    """`RUNPLANE_KAFKA_…`: who this suite is to Kafka, where the URL does not say."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPLANE_KAFKA_",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    username: str = ""
    password: SecretStr = SecretStr("")


class SharedSettings(ProcessSettings):
    """`RUNPLANE_…`: the same for every service of a suite."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPLANE_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    page_token_key: Key  # 32 bytes in hexadecimal. Secrets have no default.
    event_store: EventStoreUrl = "memory:"  # Or sqlite:///DIR, or postgresql://…
    migrate: Literal["start", "never"] = "start"  # Schemas; or only `runplane migrate` does.
    hot_store: HotStoreUrl = "memory:"  # Or redis://…, or redis+cluster://…
    object_store: ObjectStoreUrl | None = None  # file:///DIR or s3://…; absent: none.
    aws: AwsSettings = Field(default_factory=AwsSettings)  # AWS_…, for s3://….
    event_bus: EventBusUrl = "memory:"  # Or kafka://…: what the alias `events` stands for.
    event_buses: Mapping[str, EventBusUrl] = {}  # Further aliases, as a JSON object: name, URL.
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)  # RUNPLANE_KAFKA_…

    @property
    def migrates(self) -> bool:
        """Whether a service brings its schema up to date when it starts."""
        return self.migrate == "start"

    @field_validator("object_store")
    @classmethod
    def _keeps_as_long(cls, url: str | None, others: ValidationInfo) -> str | None:
        """What a log refers to has to be there as long as the log."""
        if url == "memory:" and others.data.get("event_store") != "memory:":
            raise ValueError("forgets what RUNPLANE_EVENT_STORE keeps; use file:///DIR or s3://…")
        return url
