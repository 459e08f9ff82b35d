"""What `runplane doctor` looks at for this service: engines, model files and upstreams."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.inspection.effective import masked
from services.chassis.inspection.finding import Finding, doubtful, fine, refused, wrong
from services.inference.adapters.models_file import read_models
from services.inference.engines.gguf import header
from services.inference.engines.llamacpp.model_file import located
from services.inference.settings import LlamacppSettings, OpenAISettings, Settings

SECONDS: Final = 4.0


async def checks(settings: Settings) -> list[Finding]:
    """What is found."""
    found = []
    if settings.models is not None:
        found.append(await asyncio.to_thread(_models_file, settings.models))
    if not settings.has_engine:
        return found
    if settings.engine == "llamacpp":
        found.append(await asyncio.to_thread(_gguf, settings.llamacpp))
    elif settings.engine == "openai":
        found.append(await _upstream(settings.openai))
    elif settings.engine == "vllm":
        found.append(_vllm())
    return found


def _models_file(path: Path) -> Finding:
    try:
        declared = read_models(path)
    except ServiceError as error:
        return refused("models file", error)
    return fine("models file", f"{path} declares {len(declared)} model(s)")


def _gguf(settings: LlamacppSettings) -> Finding:
    try:
        file = located(settings.model_path, settings.model_name)
        said = header(file.path)
    except ServiceError as error:
        return refused("model", error)
    except (ValueError, OSError) as error:
        path = settings.model_path or "of the wheel"
        fix = "bring it again: runplane models pull, or set INFERENCE_LLAMACPP__MODEL_PATH"
        return wrong("model", f"the model file {path} is not whole: {error}", fix)
    return fine("model", f"{file.name}: {said.architecture} {said.quantization} at {file.path}")


def _vllm() -> Finding:
    if find_spec("vllm") is None:
        return wrong("model", "vLLM is not installed", "run: pip install 'runplane[vllm]'")
    return fine("model", "vLLM is installed")


async def _upstream(settings: OpenAISettings) -> Finding:
    import httpx2  # noqa: PLC0415 - who has no upstream, loads none

    where = masked(settings.url)
    try:
        key = await asyncio.to_thread(_key, settings)
    except OSError as error:
        fix = "let INFERENCE_OPENAI__API_KEY_FILE name a file that can be read"
        return wrong("upstream", f"{settings.api_key_file}: {error.strerror}", fix)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            httpx2.AsyncClient(timeout=SECONDS) as client,
            client.stream("GET", f"{settings.url.rstrip('/')}/models", headers=headers) as reply,
        ):
            return _of_status(reply.status_code, where)
    except httpx2.HTTPError as error:
        fix = "start it, or check INFERENCE_OPENAI__URL, which ends with /v1"
        return wrong("upstream", f"nothing answers at {where} ({type(error).__name__})", fix)


def _of_status(status: int, where: str) -> Finding:
    """What the list of models was answered with says. Some servers have none."""
    if status in {401, 403}:
        fix = "check INFERENCE_OPENAI__API_KEY or its file"
        return wrong("upstream", f"{where} refuses this key", fix)
    if status >= 400:
        fix = "see that INFERENCE_OPENAI__URL ends with /v1, and what the server logs"
        return doubtful("upstream", f"{where} answers {status} where its models are", fix)
    return fine("upstream", f"{where} answers")


def _key(settings: OpenAISettings) -> str:
    if settings.api_key_file is not None:
        return settings.api_key_file.read_text().strip()
    return settings.api_key.get_secret_value() if settings.api_key is not None else ""
