"""llama.cpp in this process: GGUF models on a CPU."""
