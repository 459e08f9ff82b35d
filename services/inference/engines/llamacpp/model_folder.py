"""GGUF files that entries name: within the folder of models, or within a package."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from services.chassis.errors import FailedPrecondition, ResourceExhausted, ServiceError
from services.inference.domain.entry import Llamacpp
from services.inference.engines import gguf
from services.inference.engines.llamacpp.memory import available_bytes

_SPARE_BYTES: Final = 64 * 1024 * 1024


def path_of(runs_on: Llamacpp, folder: Path) -> Path:
    """Where its file is.

    Raises:
        FailedPrecondition: `MODEL_FILE_MISSING`; there is none, or it is not within the folder.
    """
    if runs_on.package:
        return _packaged(runs_on.package)
    try:
        path = (folder / runs_on.file).resolve()
        is_there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, RuntimeError):  # Links that lead to each other.
        is_there = False
    if not is_there:
        raise _missing(
            f"there is no {runs_on.file} in the folder of models",
            "put it there: runplane models pull FILE; INFERENCE_MODELS_DIR says where that is",
        )
    return path


def checked(path: Path) -> gguf.Header:
    """What the file says, once it is seen that it is whole.

    Raises:
        FailedPrecondition: `MODEL_FILE_INVALID`.
    """
    try:
        return gguf.header(path)
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            "MODEL_FILE_INVALID",
            f"{path.name} is not a whole GGUF file: {error}",
            file=path.name,
            suggested_fix="get it anew: runplane models pull",
        ) from None


def check_memory(path: Path, header: gguf.Header, tokens: int) -> None:
    """Refuse what does not fit; `tokens` are those of all contexts together.

    Raises:
        ResourceExhausted: `MODEL_MEMORY_EXCEEDED`.
    """
    left = available_bytes()
    needed = path.stat().st_size + header.token_bytes * tokens + _SPARE_BYTES
    if left is not None and needed > left:
        raise ResourceExhausted(
            "MODEL_MEMORY_EXCEEDED",
            f"{path.name} needs about {_mib(needed)} MiB of memory, and {_mib(left)} MiB are left",
            needed_bytes=str(needed),
            available_bytes=str(left),
            suggested_fix="use fewer context_tokens or slots, or unload another model",
        )


def explaining(path: Path, header: gguf.Header) -> Callable[[ServiceError], ServiceError]:
    """What to say of a whole file that llama.cpp refuses."""

    def explained(error: ServiceError) -> ServiceError:
        if error.reason != "ENGINE_FAILED":
            return error
        name = "".join(filter(str.isprintable, header.architecture)) or "unknown"
        return FailedPrecondition(
            "MODEL_FILE_UNSUPPORTED",
            f"llama.cpp cannot load {path.name}, whose architecture is {name[:64]}",
            file=path.name,
            architecture=name[:64],
            suggested_fix="use a model that this release of llama.cpp knows",
        )

    return explained


def _packaged(package: str) -> Path:
    spec = find_spec(package.replace("-", "_"))
    places = spec.submodule_search_locations if spec is not None else None
    files = sorted(Path(places[0]).glob("*.gguf")) if places else []
    if len(files) != 1:
        raise _missing(
            f"the package {package} is not here, or has no model",
            f"get it: runplane models pull {package}",
        )
    return files[0]


def _missing(message: str, fix: str) -> FailedPrecondition:
    return FailedPrecondition("MODEL_FILE_MISSING", message, suggested_fix=fix)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f}"
