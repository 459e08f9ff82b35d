# syntax=docker/dockerfile:1.7@sha256:a57df69d0ea827fb7266491f2813635de6f17269be881f696fbfdf2d83dda33e
# A target for each service: docs/images.md. Every RUN works in its WORKDIR alone, by relative paths, so
# that `make images-check` can run the same steps in a folder where there is no Docker.

ARG PYTHON_IMAGE=docker.io/library/python:3.11.14-slim-bookworm
ARG PYTHON_DIGEST=sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
ARG CUDA_IMAGE=docker.io/nvidia/cuda:13.0.1-base-ubuntu24.04
ARG CUDA_DIGEST=sha256:f8ef28f579ea42a44b415d2c5d46f788e6a9b395c6c83f2929416e1fc192c143


# The suite's own wheel.
FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS wheel
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/build.lock ./
RUN sh packages.sh build.lock
COPY pyproject.toml README.md LICENSE ./
COPY protos/gen/runplane protos/gen/runplane
COPY gateway gateway
COPY services services
RUN PYTHONPATH=tree python -m hatchling build -t wheel -d dist


# What each image holds: packages first, since they change less often than the code.
FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS gateway-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/gateway.lock ./
RUN sh packages.sh gateway.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh gateway

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS inference-tree
ARG SOURCE_DATE_EPOCH=0
ARG WITH_MODEL=
WORKDIR /build
COPY images/packages.sh images/inference.lock images/model.lock ./
RUN sh packages.sh inference.lock ${WITH_MODEL:+model.lock}
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services/inference

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS orchestrator-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/orchestrator.lock ./
RUN sh packages.sh orchestrator.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services/orchestrator

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS tool-registry-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/tool-registry.lock ./
RUN sh packages.sh tool-registry.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services/tool_registry

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS workflow-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/workflow.lock ./
RUN sh packages.sh workflow.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services/workflow

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS cli-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/cli.lock ./
RUN sh packages.sh cli.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services gateway


# What runs: nothing is installed or written from here on, and no shell is started.
FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG PYTHON_IMAGE
ARG PYTHON_DIGEST
LABEL org.opencontainers.image.vendor="Runplane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.base.digest="${PYTHON_DIGEST}"
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
WORKDIR /app
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK NONE

FROM runtime AS gateway
LABEL org.opencontainers.image.title="runplane/gateway"
ENV GATEWAY_LISTEN=0.0.0.0:8080 GATEWAY_ADMIN=0.0.0.0:9090
EXPOSE 8080 9090
COPY --from=gateway-tree /build/tree /app
ENTRYPOINT ["python", "-m", "gateway"]

FROM runtime AS inference
LABEL org.opencontainers.image.title="runplane/inference"
ENV INFERENCE_SERVER__LISTEN=0.0.0.0:8082 INFERENCE_SERVER__ADMIN=0.0.0.0:9090
EXPOSE 8082 9090
COPY --from=inference-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.inference"]

FROM runtime AS orchestrator
LABEL org.opencontainers.image.title="runplane/orchestrator"
ENV ORCHESTRATOR_SERVER__LISTEN=0.0.0.0:8081 ORCHESTRATOR_SERVER__ADMIN=0.0.0.0:9090
EXPOSE 8081 9090
COPY --from=orchestrator-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.orchestrator"]

FROM runtime AS tool-registry
LABEL org.opencontainers.image.title="runplane/tool-registry"
ENV TOOL_REGISTRY_SERVER__LISTEN=0.0.0.0:8083 TOOL_REGISTRY_SERVER__ADMIN=0.0.0.0:9090
EXPOSE 8083 9090
COPY --from=tool-registry-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.tool_registry"]

FROM runtime AS workflow
LABEL org.opencontainers.image.title="runplane/workflow"
ENV WORKFLOW_SERVER__LISTEN=0.0.0.0:8084 WORKFLOW_SERVER__ADMIN=0.0.0.0:9090
EXPOSE 8084 9090
COPY --from=workflow-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.workflow"]

FROM runtime AS cli
LABEL org.opencontainers.image.title="runplane/cli"
COPY --from=cli-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.cli"]


# vLLM on GPUs: amd64, and gigabytes. Triton and FlashInfer compile what a model needs when it is loaded:
# for that they want a compiler, NVIDIA's, ninja by its name, and headers, as vLLM's own image has them.
FROM ${CUDA_IMAGE}@${CUDA_DIGEST} AS cuda
ARG CUDA_RELEASE=13-0
# Ubuntu's archive keeps no version that another has replaced: none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ ninja-build python-is-python3 python3-dev python3-pip \
        "cuda-cudart-dev-${CUDA_RELEASE}" "cuda-cuobjdump-${CUDA_RELEASE}" "cuda-nvcc-${CUDA_RELEASE}" \
        "cuda-nvrtc-dev-${CUDA_RELEASE}" "libcublas-dev-${CUDA_RELEASE}" "libcurand-dev-${CUDA_RELEASE}" \
    && rm -rf /var/lib/apt/lists/*

FROM cuda AS inference-gpu-tree
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY images/packages.sh images/inference-gpu.lock ./
RUN sh packages.sh inference-gpu.lock
COPY images/code.sh ./
COPY --from=wheel /build/dist dist
RUN sh code.sh services/inference

FROM cuda AS inference-gpu
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CUDA_IMAGE
ARG CUDA_DIGEST
LABEL org.opencontainers.image.title="runplane/inference-gpu" \
      org.opencontainers.image.vendor="Runplane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${CUDA_IMAGE}" \
      org.opencontainers.image.base.digest="${CUDA_DIGEST}"
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
ENV INFERENCE_SERVER__LISTEN=0.0.0.0:8082 INFERENCE_SERVER__ADMIN=0.0.0.0:9090 INFERENCE_ENGINE=vllm
# What is compiled and fetched goes below HOME: mount a volume there. Some would take /tmp, which a pod has
# little of, and name a folder there by a user who has no name.
ENV HOME=/cache USER=runplane VLLM_NO_USAGE_STATS=1 \
    FLASH_ATTENTION_CUTE_DSL_CACHE_DIR=/cache/cute-dsl \
    QUACK_CACHE_DIR=/cache/quack \
    TORCHINDUCTOR_CACHE_DIR=/cache/torchinductor
EXPOSE 8082 9090
WORKDIR /app
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK NONE
COPY --from=inference-gpu-tree /build/tree /app
ENTRYPOINT ["python", "-m", "services.inference"]
