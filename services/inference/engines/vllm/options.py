"""What a vLLM engine is told, and what of it can be seen to be wrong before anything is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from services.chassis.errors import FailedPrecondition
from services.inference.domain.request import JSON

RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""Of adapters: the sizes that vLLM has room for."""

_VARIABLE: Final = "INFERENCE_VLLM__"
_LENGTHS: Final = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


@dataclass(frozen=True, slots=True)
class Options:
    """An engine, and the model that it runs."""

    model: str
    """A folder, or the name of a repository on a hub."""
    name: str
    context_tokens: int = 4_096
    slots: int = 32
    queue: int = 256
    max_tokens: int = 512
    """Where a request says nothing."""
    temperature: float | None = None
    """Where a request says nothing; None is what the model's authors advise."""
    top_p: float | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """LoRA adapters by the name that each is asked by."""
    pooling: Literal["mean", "model"] | None = None
    """How texts become vectors; None for a model that generates."""
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    """The rest, by the names that vLLM has for them."""
    is_measured: bool = True
    """Whether vLLM counts; it can for one engine of a process."""
    variable: str = _VARIABLE
    """How the variables begin that told all this."""

    @property
    def folder(self) -> Path | None:
        """Where the model is; None for one on a hub."""
        path = Path(self.model).expanduser()
        return path if path.is_dir() or not _is_on_a_hub(self.model) else None

    @property
    def rank(self) -> int:
        """Room for the largest adapter."""
        return max((_rank(path, self) for path in self.adapters.values()), default=RANKS[0])


def checked(options: Options) -> Options:
    """The same, unless it cannot be.

    Raises:
        FailedPrecondition: `ENGINE_NOT_INSTALLED`, vLLM or a folder is missing;
            `ENGINE_MISCONFIGURED`, something asks for what the model does not have.
    """
    if find_spec("vllm") is None:
        raise _missing(
            "vLLM is not installed: install runplane[vllm] on a machine with a GPU, or use "
            "--engine llamacpp (INFERENCE_ENGINE=llamacpp)"
        )
    if options.folder is not None:
        _check_length(options, _document(options.folder / "config.json", options, "model"))
    for name in options.adapters:
        if name == options.name:
            raise _wrong(options, "lora", f"names an adapter {name!r}, as the model is called")
    options.rank  # noqa: B018 - reads every adapter
    return options


def _is_on_a_hub(model: str) -> bool:
    owner, _, name = model.partition("/")
    return bool(owner and name and "/" not in name and not model.startswith((".", "~")))


def _check_length(options: Options, config: Mapping[str, JSON]) -> None:
    most = next((config[name] for name in _LENGTHS if name in config), None)
    if isinstance(most, int) and options.context_tokens > most:
        fault = f"is {options.context_tokens:,}, and {options.model} was made for {most:,} tokens"
        raise _wrong(options, "context_tokens", f"{fault}: set it to {most} or less")


def _rank(path: Path, options: Options) -> int:
    rank = _document(path / "adapter_config.json", options, "lora").get("r")
    if not isinstance(rank, int) or not 0 < rank <= RANKS[-1]:
        fault = f"has an adapter {path} of rank {rank}; vLLM takes 1 to {RANKS[-1]}"
        raise _wrong(options, "lora", fault)
    return next(each for each in RANKS if each >= rank)


def _document(path: Path, options: Options, setting: str) -> Mapping[str, JSON]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        kind = "a LoRA adapter" if setting == "lora" else "a model"
        fault = f"there is no {path}: name a folder that holds {kind} in Hugging Face's format"
        raise _missing(f"{options.variable}{setting.upper()}: {fault}") from None
    except (OSError, ValueError) as error:
        raise _wrong(options, setting, f"names {path}, which cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise _wrong(options, setting, f"names {path}, which holds no JSON object")
    return document


def _missing(message: str) -> FailedPrecondition:
    return FailedPrecondition("ENGINE_NOT_INSTALLED", message)


def _wrong(options: Options, setting: str, fault: str) -> FailedPrecondition:
    field_name = f"{options.variable}{setting.upper()}"
    return FailedPrecondition("ENGINE_MISCONFIGURED", f"{field_name}: {fault}", field=field_name)
