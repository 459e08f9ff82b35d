"""vLLM with a small model, and what it is asked."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from safetensors.torch import save_file

from services.inference.domain.request import Message, Request, Sampling
from services.inference.engines.vllm.embedding import VllmEmbeddingEngine
from services.inference.engines.vllm.engine import VllmEngine
from services.inference.engines.vllm.options import Options, checked
from tests.contract.inference.engines import ON_A_CPU
from tests.on_vllm.inputs import MODEL

LAYERS, WIDTH, KEYS, RANK = 30, 576, 192, 8


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that nobody trained: with it, the model says other things."""
    folder = tmp_path_factory.mktemp("adapter")
    random = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(LAYERS):
        for name, width in {"q_proj": WIDTH, "v_proj": KEYS}.items():
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            for part, shape in {"A": (RANK, WIDTH), "B": (width, RANK)}.items():
                weight = torch.randn(*shape, generator=random) * 0.05
                weights[f"{at}.lora_{part}.weight"] = weight.to(torch.bfloat16)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 64,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
        "base_model_name_or_path": "smollm2",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(adapter: Path) -> AsyncIterator[VllmEngine]:
    """One that generates, with an adapter and two slots."""
    options = Options(
        str(MODEL),
        "smollm2",
        context_tokens=1_024,
        slots=2,
        queue=8,
        adapters={"other": adapter},
        arguments=ON_A_CPU,
    )
    engine = VllmEngine(checked(options))
    await engine.load()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedder() -> AsyncIterator[VllmEmbeddingEngine]:
    """One that makes vectors."""
    options = Options(
        str(MODEL),
        "vectors",
        context_tokens=256,
        slots=4,
        queue=8,
        pooling="mean",
        arguments=ON_A_CPU,
        is_measured=False,
    )
    engine = VllmEmbeddingEngine(checked(options))
    await engine.load()
    yield engine
    await engine.close()


def asking(text: str, model: str = "smollm2", **sampling: object) -> Request:
    return Request(model, (Message("user", text),), Sampling(**{"temperature": 0.0} | sampling))
