"""`INFERENCE_…`: what this service can be told."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import SECRETS, Duration, ServerSettings


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
    model_name: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")  # Absent: the file's.
    slots: int = Field(4, ge=1, le=64)  # Generations at a time, batched together.
    queue: int = Field(64, ge=0)
    context_tokens: int = Field(4_096, ge=256)  # For each slot; 23 KB of memory a token.
    default_max_tokens: int = Field(512, ge=1)
    temperature: float = Field(0.2, ge=0, le=2)  # What SmolLM2's authors advise.
    top_p: float = Field(0.9, gt=0, le=1)
    threads: int | None = Field(None, ge=1)  # Absent: one for each CPU.
    prompt_cache_mib: int = Field(256, ge=0)  # Prompts remembered beyond the slots' own.
    batch_tokens: int = Field(128, ge=32)  # A cancel waits for at most one batch of the prompt.


class StreamSettings(BaseModel, frozen=True):
    """How text goes out."""

    merge: Duration = Field(timedelta(milliseconds=10), ge=timedelta(0))  # Between two messages.


class PriceSettings(BaseModel, frozen=True):
    """What a million tokens cost, in US dollars: of the engine's own time, say."""

    input_usd: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    output_usd: float = Field(0.0, ge=0.0, allow_inf_nan=False)


class CatalogueSettings(BaseModel, frozen=True):
    """The models beside that of `engine`."""

    most: int = Field(64, ge=0)  # That the API creates, of one tenant.
    most_loaded: int = Field(8, ge=0)  # At a time, in this process.
    look: Duration = Field(timedelta(seconds=3), gt=timedelta(0))  # For what others have changed.


class LimitSettings(BaseModel, frozen=True):
    """What is taken at most."""

    prompt_bytes: int = Field(512 * 1024, ge=1)  # The contents of all messages.


class Settings(BaseSettings):
    """The inference service's settings."""

    model_config = SettingsConfigDict(
        env_prefix="INFERENCE_",
        env_nested_delimiter="__",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    server: ServerSettings = ServerSettings(listen="127.0.0.1:8082")
    engine: Literal["llamacpp", "echo"] = "llamacpp"  # Said, or without a file: the default one.
    models: Path | None = None  # A file of further models: docs/models.md.
    models_dir: Path = Path("models")  # Where GGUF files of entries are; nothing else is read.
    llamacpp: LlamacppSettings = LlamacppSettings()
    echo: EchoSettings = EchoSettings()
    stream: StreamSettings = StreamSettings()
    limits: LimitSettings = LimitSettings()
    price: PriceSettings = PriceSettings()
    catalogue: CatalogueSettings = CatalogueSettings()

    @property
    def has_engine(self) -> bool:
        """Whether there is an engine beside the models of a file."""
        return self.models is None or "engine" in self.model_fields_set
