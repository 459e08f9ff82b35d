"""What runs vLLM: `make test-vllm` makes an environment for it, and runs the tests in it."""
