# Two commands do everything on a fresh machine: `make serve` and `make test`.
# PIP_ARGS chooses where wheels come from, e.g. the CPU-only build of torch on Linux:
#   make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)

.PHONY: serve test check policies format tools image-check compare bench bench-quick clean

serve: .venv/server
	$(BIN)/clut-enhance serve

test: .venv/dev tools
	$(BIN)/pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Programs that tests run and that pip has not.
tools:
	deploy/check/tools.sh deploy/check/packages.txt

# The manifests and the Dockerfile against a linter's policies.
policies: .venv/dev .venv/checkov
	rm -rf .venv/manifests
	for overlay in dev prod; do \
		mkdir -p .venv/manifests/$$overlay; \
		$(BIN)/kubectl kustomize deploy/k8s/overlays/$$overlay > .venv/manifests/$$overlay/all.yaml; \
	done
	.venv/checkov/bin/checkov --config-file deploy/check/checkov.yaml \
		--framework kubernetes --directory .venv/manifests
	.venv/checkov/bin/checkov --config-file deploy/check/checkov.yaml \
		--framework dockerfile --file Dockerfile

# Builds the image and runs it without a Docker engine: as root, on Debian, with 6 GB to spare.
image-check: .venv/dev
	deploy/check/tools.sh deploy/check/image-packages.txt
	$(BIN)/python deploy/check/image.py

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The networks of the CLUT-Net paper, trained alike: docs/compare.md and .png. It goes on where it
# was interrupted. TEACHERS is a model store with lut3, adaint and seplut.
PHOTOS ?= photos
TEACHERS ?= teachers
PAIRS ?= pairs

compare: .venv/dev
	$(BIN)/clut-enhance compare app/training/recipes/compare.toml \
		--photos $(PHOTOS) --teachers $(TEACHERS) --pairs $(PAIRS)

# The tables of docs/performance.md, in 15 minutes or in 2. They need the load generator wrk.
bench: .venv/bench
	$(BIN)/python -m benchmarks

bench-quick: .venv/bench
	$(BIN)/python -m benchmarks --quick

clean:
	rm -rf .venv

.venv/python:
	$(PYTHON) -m venv .venv
	touch $@

# What runs the service: no training, no tests.
.venv/server: .venv/python pyproject.toml constraints.txt
	$(PIP_INSTALL) --editable '.[heif]'
	touch $@

# An environment of its own: it wants other versions of much that we use.
.venv/checkov: .venv/python
	$(PYTHON) -m venv .venv/checkov
	.venv/checkov/bin/pip install --quiet --disable-pip-version-check 'checkov==3.3.30'

.venv/dev: .venv/server
	$(PIP_INSTALL) --editable '.[heif,telemetry,training,dev]'
	touch $@

.venv/bench: .venv/dev
	command -v wrk || apt-get install --yes wrk
	$(PIP_INSTALL) --editable '.[bench]'
	touch $@
