# For CPUs:          docker build -t clut-enhance .
# For NVIDIA GPUs:   docker build -t clut-enhance-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# The images differ in the wheel of torch, which includes the CUDA libraries.

FROM debian:12-slim AS python
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*


FROM python AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/clut
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Dependencies before source: they change rarely and are most of the image.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt LICENSE NOTICE ./
COPY locked/server.txt locked/
# As in the Makefile: packages by their hashes, then torch, whose wheel depends on the index. Headers
# and tests of packages are removed.
RUN mkdir app \
 && touch app/__init__.py README.md \
 && pip install --no-deps --require-hashes --requirement locked/server.txt \
 && PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    pip install --extra-index-url "$TORCH_INDEX" --editable '.[bulk,heif,telemetry]' \
 && rm -rf /opt/venv/lib/python3*/site-packages/torch/include \
           /opt/venv/lib/python3*/site-packages/torch/test \
 && find /opt/venv/lib/python3*/site-packages -type d -name tests -prune -exec rm -rf {} + \
 && find /opt/venv/lib/python3*/site-packages/torch/bin -type f ! -name torch_shm_manager -delete \
 && pip uninstall --yes setuptools pip

COPY app app
COPY model_store model_store
# Compile the kernel for any CPU of this architecture: see app/jit.py.
ENV NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/srv/clut/kernel \
    NUMBA_CACHE_LOCATOR_CLASSES=app.jit.ShippedCacheLocator
RUN python -m compileall -q app \
 && clut-enhance compile-kernel


FROM python
LABEL org.opencontainers.image.title="clut-enhance" \
      org.opencontainers.image.description="Makes photographs look better with image-adaptive 3D LUTs (CLUT-Net)" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/clut /srv/clut
WORKDIR /srv/clut
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/srv/clut/kernel \
    NUMBA_CACHE_LOCATOR_CLASSES=app.jit.ShippedCacheLocator \
    CLUT_HTTP_HOST=0.0.0.0
# The container starts with API keys (CLUT_AUTH_FILE, CLUT_AUTH_KEYS) or CLUT_AUTH_ALLOW_ANONYMOUS.
# The user needs no account: the service writes to /tmp only.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-m", "app.cli.health"]
ENTRYPOINT ["clut-enhance"]
CMD ["serve"]
