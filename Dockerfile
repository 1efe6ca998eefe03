# codistill with everything that is optional; the images are for running, not for developing.
#
#   docker build --target cpu -t codistill:cpu .
#   docker build --target cuda -t codistill:cuda .
#   docker run --rm -v "$PWD":/work codistill:cpu world build --out w --images 300
#   docker run --rm --gpus all --shm-size 8g -v "$PWD":/work codistill:cuda distill debug --out runs/debug
#
# Weights are kept in a volume with: -v codistill-cache:/cache
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS base
ARG VERSION=0.1.0
ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    CODISTILL_CACHE=/cache/codistill \
    HF_HOME=/cache/huggingface \
    SETUPTOOLS_SCM_PRETEND_VERSION_FOR_CODISTILL=${VERSION}
COPY pyproject.toml setup.py MANIFEST.in README.md CHANGELOG.md CITATION.cff LICENSE /opt/codistill/
COPY src /opt/codistill/src

FROM base AS cpu
RUN pip install "torch>=2.10,<3" "torchvision>=0.25,<1" --index-url https://download.pytorch.org/whl/cpu \
    && pip install "/opt/codistill[all]"
RUN useradd --create-home codistill && mkdir -p /cache /work && chown codistill /cache /work
USER codistill
WORKDIR /work
ENTRYPOINT ["codistill"]
CMD ["--help"]

FROM base AS cuda
RUN pip install "/opt/codistill[all]"
RUN useradd --create-home codistill && mkdir -p /cache /work && chown codistill /cache /work
USER codistill
WORKDIR /work
ENTRYPOINT ["codistill"]
CMD ["--help"]
