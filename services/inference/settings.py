"""`INFERENCE_…`: what this service can be told."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.egress.settings import (
    EgressSettings,
    StoredSecretSettings,
    of_environment,
)
from services.chassis.settings import SECRETS, Duration, ServerSettings

_OF_SECRETS: Final = "INFERENCE_SECRET_"
NAME: Final = r"^[A-Za-z0-9_.-]{1,64}$"


class EchoSettings(BaseModel, frozen=True):
    """The engine without a model."""

    first_delay: Duration = Field(timedelta(0), ge=timedelta(0))  # Before the first token.
    delay: Duration = Field(timedelta(0), ge=timedelta(0))  # Between tokens.
    tokens: int | None = Field(None, ge=1, le=1_000_000)  # Absent: what the request says.
    slots: int = Field(256, ge=1)
    queue: int = Field(1_024, ge=0)


class LlamacppSettings(BaseModel, frozen=True):
    """The engine that runs a GGUF file in this process."""

    model_path: Path | None = None  # Absent: the model that `make install` brings.
    model_name: str | None = Field(None, pattern=NAME)  # Absent: the file's.
    slots: int = Field(4, ge=1, le=64)  # Generations at a time, batched together.
    queue: int = Field(64, ge=0)
    is_embedding: bool = False  # Makes vectors of texts, and does nothing else.
    context_tokens: int = Field(4_096, ge=256)  # For each slot; 23 KB of memory a token.
    default_max_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.2, ge=0, le=2)  # What SmolLM2's authors advise.
    top_p: float = Field(0.9, gt=0, le=1)
    threads: int | None = Field(None, ge=1)  # Absent: one for each CPU.
    prompt_cache_mib: int = Field(256, ge=0)  # Prompts remembered beyond the slots' own.
    batch_tokens: int = Field(128, ge=32)  # A cancel waits for at most one batch of the prompt.


class VllmModelSettings(BaseModel, frozen=True):
    """A model that vLLM runs."""

    model: str = Field(min_length=1)  # A folder in Hugging Face's format, or OWNER/NAME of its hub.
    model_name: str | None = Field(None, pattern=NAME)  # Absent: the folder's.
    slots: int = Field(32, ge=1, le=4_096)  # Requests that are computed together.
    queue: int = Field(256, ge=0)
    context_tokens: int = Field(4_096, ge=16)  # Prompt and output together.
    # The rest as a JSON object, by vLLM's names: {"tensor_parallel_size": 2, "dtype": "bfloat16"}.
    arguments: Mapping[str, JsonValue] = {}

    @property
    def name(self) -> str:
        """What the model is asked by."""
        last = self.model.rstrip("/").rpartition("/")[2]
        return self.model_name or re.sub(r"[^a-z0-9_.]+", "-", last.lower())[:64]


class VllmEmbeddingSettings(VllmModelSettings, frozen=True):
    """A model that makes vectors, by an engine of its own beside the one that generates."""

    pooling: Literal["mean", "model"] = "mean"  # Or as the model's authors have it.


class VllmSettings(VllmModelSettings, frozen=True):
    """The engine for machines with GPUs."""

    model: str = ""  # Needed by this engine.
    default_max_tokens: int = Field(512, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)  # Absent: what the model's authors advise.
    top_p: float | None = Field(None, gt=0, le=1)
    lora: Mapping[str, Path] = {}  # Adapters as a JSON object: the name to ask by, the folder.
    embedding: VllmEmbeddingSettings | None = None

    @field_validator("lora")
    @classmethod
    def _are_names(cls, adapters: Mapping[str, Path]) -> Mapping[str, Path]:
        """An adapter is a model of its own, and has a name as one."""
        for name in adapters:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"has a name {name[:64]!r}; use letters, digits and _ . -")
        return adapters


def _upstream(url: str) -> str:
    parts = urlsplit(url)  # Of `http://[` it says itself that it is none.
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
        raise ValueError("is not http://HOST:PORT/v1 or https://HOST/v1")
    if parts.username or parts.password:
        raise ValueError("has a user or a password in it: set api_key or api_key_file instead")
    return url


class OpenAISettings(BaseModel, frozen=True):
    """The engine that asks an OpenAI-compatible server elsewhere. Whoever sets this is trusted: the
    server may be at any address."""

    url: Annotated[str, AfterValidator(_upstream)] = ""  # With its `/v1`.
    model: str = Field("", max_length=256)  # What the model is called there.
    model_name: str | None = Field(None, pattern=NAME)  # And here. Absent: the end of `model`.
    dialect: Literal["openai", "vllm", "llamacpp"] = "openai"  # What the server has beside it.
    api_key: SecretStr | None = None
    api_key_file: Path | None = None  # Read for each request: it may be replaced.
    context_tokens: int | None = Field(None, ge=256)  # Absent: the server is asked.
    default_max_tokens: int = Field(1_024, ge=1)
    slots: int = Field(32, ge=1, le=1_024)  # Requests to it at a time.
    queue: int = Field(256, ge=0)
    schema_mode: Literal["json_schema", "json_object", "none"] | None = None  # Absent: dialect's.
    has_tools: bool | None = None  # Whether the model calls tools. Absent: as the dialect has it.
    is_embedding: bool = False  # The model embeds, and does nothing else.
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    connect: Duration = Field(timedelta(seconds=5), gt=timedelta(0))
    silence: Duration = Field(timedelta(seconds=60), gt=timedelta(0))  # Before and between words.
    start: Duration = Field(timedelta(seconds=60), ge=timedelta(0))  # That it has to answer first.
    answer_bytes: int = Field(64 * 1024 * 1024, ge=1024)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("api_key and api_key_file are both set: leave one of them out")
        return self


class StreamSettings(BaseModel, frozen=True):
    """How text goes out."""

    merge: Duration = Field(timedelta(milliseconds=20), ge=timedelta(0))  # Between two messages.


class PriceSettings(BaseModel, frozen=True):
    """What a million tokens cost, in US dollars: of the engine's own time, say."""

    input_usd: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    output_usd: float = Field(0.0, ge=0.0, allow_inf_nan=False)


class SecretSettings(StoredSecretSettings, frozen=True):
    """Where the secrets are that models name: those of a file are the tenant `default`'s."""

    # INFERENCE_SECRET_NAME, for the tenant `default`.
    environment: Mapping[str, SecretStr] = Field(
        default_factory=partial(of_environment, _OF_SECRETS)
    )


class CatalogueSettings(BaseModel, frozen=True):
    """The models beside that of `engine`."""

    most: int = Field(64, ge=0)  # That the API creates, of one tenant.
    most_loaded: int = Field(8, ge=0)  # At a time, in this process.
    look: Duration = Field(timedelta(seconds=3), gt=timedelta(0))  # For what others have changed.


class LimitSettings(BaseModel, frozen=True):
    """What is taken at most."""

    prompt_bytes: int = Field(512 * 1024, ge=1)  # The contents of all messages.


class BatchSettings(BaseModel, frozen=True):
    """How batches run."""

    max_running: int = Field(16, ge=1)  # Batches in this process's hands; the others wait.
    max_items: int | None = Field(None, ge=1)  # At once on one engine. Absent: all slots but one.
    max_open: int = Field(100, ge=1)  # Of one tenant, that have not ended.
    duration: Duration = Field(timedelta(hours=24), gt=timedelta(0))  # Where a batch says nothing.
    pace: Duration = Field(timedelta(seconds=1), ge=timedelta(0))  # What a stopped item may lose.
    lease: Duration = Field(timedelta(seconds=8), gt=timedelta(0))  # Then another takes it up.
    look: Duration = Field(timedelta(milliseconds=500), gt=timedelta(0))  # For what nobody has.


class Settings(BaseSettings):
    """The inference service's settings."""

    model_config = SettingsConfigDict(
        env_prefix="INFERENCE_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    server: ServerSettings = ServerSettings(listen="127.0.0.1:8082")
    # Of the default model. Absent, with a file of models: there is none beside those.
    engine: Literal["llamacpp", "vllm", "echo", "openai"] = "llamacpp"
    models: Path | None = None  # A file of further models: docs/models.md.
    models_dir: Path = Path("models")  # Where GGUF files of entries are; nothing else is read.
    llamacpp: LlamacppSettings = LlamacppSettings()
    vllm: VllmSettings = VllmSettings()
    echo: EchoSettings = EchoSettings()
    openai: OpenAISettings = OpenAISettings()
    stream: StreamSettings = StreamSettings()
    limits: LimitSettings = LimitSettings()
    price: PriceSettings = PriceSettings()
    batch: BatchSettings = BatchSettings()
    catalogue: CatalogueSettings = CatalogueSettings()
    egress: EgressSettings = EgressSettings()  # For models that the API creates.
    secrets: SecretSettings = Field(default_factory=SecretSettings)

    @property
    def has_engine(self) -> bool:
        """Whether there is an engine beside the models of a file."""
        return self.models is None or "engine" in self.model_fields_set

    @model_validator(mode="after")
    def _has_model(self) -> Self:
        if self.engine == "vllm" and not self.vllm.model:
            raise ValueError("engine vllm needs a model: set INFERENCE_VLLM__MODEL to a folder")
        return self

    @model_validator(mode="after")
    def _has_upstream(self) -> Self:
        missing = [name for name in ("url", "model") if not getattr(self.openai, name)]
        if self.engine == "openai" and missing:
            names = " and ".join(f"INFERENCE_OPENAI__{name.upper()}" for name in missing)
            raise ValueError(f"engine openai needs an upstream: set {names}")
        return self
