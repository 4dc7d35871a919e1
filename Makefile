# Two commands do everything on a fresh machine: `make serve` and `make test`.
# PIP_ARGS chooses where wheels come from, e.g. the CPU-only build of torch on Linux:
#   make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
# In the environment, so that it holds for what builds the project, too; newer pips ask by a name
# of its own.
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(PIP) install $(PIP_ARGS)
# Everything but torch, whose wheel depends on the index and so has no hash of ours, and what torch
# alone needs: file by file as it was when the tests passed.
PIP_INSTALL_LOCKED := $(PIP) install --no-deps --require-hashes $(PIP_ARGS)

.PHONY: serve test test-fast check policies readme format tools image-check compare bench bench-quick bench-ray lock sbom audit \
	corpora fuzz overload departures soak rolling clean

serve: .venv/server
	$(BIN)/clut-enhance serve

# The numeric tests run twice: matrix products round by instruction set and number of threads.
test: .venv/dev tools
	$(BIN)/pytest
	TEST_PROCESSOR=generic TEST_THREADS=2 $(BIN)/pytest -m 'not slow' $(NUMERIC_TESTS)

# All but the tests that start a server, Ray, Prometheus, an S3 or whole programs.
test-fast: .venv/dev
	$(BIN)/pytest -m 'not slow'

NUMERIC_TESTS := tests/networks tests/luts/test_apply.py tests/training/test_trainer.py

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PIP) check
	$(BIN)/pytest --quiet tests/test_dependencies.py

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

# The tables of the README that are generated from the code.
readme: .venv/dev
	$(BIN)/python -m tests.helpers.readme

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

# The hashes, after a change of constraints.txt.
lock: .venv/tools
	echo torch > .venv/unlocked
	echo 'checkov==3.3.30' | .venv/tools/bin/uv pip compile - --output-file locked/checkov.txt \
		--generate-hashes --no-annotate --no-header --quiet
	.venv/tools/bin/uv pip compile $(LOCK_ARGS) --output-file locked/server.txt
	.venv/tools/bin/uv pip compile $(LOCK_ARGS) --extra training --extra ray --extra dev \
		--output-file locked/dev.txt

LOCK_ARGS := pyproject.toml --extra bulk --extra heif --extra telemetry --constraint constraints.txt \
	--excludes .venv/unlocked --generate-hashes --no-annotate --no-header --quiet

# What is installed, for those who keep books: CycloneDX.
sbom: .venv/server .venv/tools
	.venv/tools/bin/cyclonedx-py environment --pyproject pyproject.toml \
		--output-file sbom.json $(BIN)/python

# Known vulnerabilities of what is pinned; asks PyPI, so it is no part of `make check`. It fails
# where something could not be asked about, too.
audit: .venv/tools
	.venv/tools/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# Test images that nobody here made, with their damaged and fuzzed ones; never committed.
corpora: .venv/dev
	mkdir -p corpora/sources
	$(PIP) download --no-binary :all: --no-deps --dest corpora/sources Pillow pillow-heif Wand
	for archive in corpora/sources/*.tar.gz; do tar xzf $$archive -C corpora; done
	cd corpora/sources && apt-get download libjxl-testdata
	dpkg -x corpora/sources/libjxl-testdata_*.deb corpora/libjxl
	benchmarks/debian_sources.sh corpora libheif opencv
	$(BIN)/python -m benchmarks.corpora corpora

# Coverage-guided fuzzing, SECONDS for each target; what fails is left in a file crash-*.
SECONDS ?= 60

fuzz: .venv/dev
	$(PIP) install 'atheris>=3.0'
	$(BIN)/python -m tests.fuzz seeds .venv/seeds
	set -e; for target in header metadata exif cube token; do \
		$(BIN)/python -m tests.fuzz $$target -max_total_time=$(SECONDS) .venv/seeds/$$target; \
	done

# Too much load, callers that hang up, the long run: docs/reliability.md has the figures.
overload departures soak: .venv/dev
	$(BIN)/python -m benchmarks.reliability $@

# Needs haproxy, as Debian has it.
rolling: .venv/dev
	$(BIN)/python -m benchmarks.rolling

# The tables of docs/performance.md, in 15 minutes or in 2. They need the load generator wrk.
bench: .venv/bench
	$(BIN)/python -m benchmarks

bench-quick: .venv/bench
	$(BIN)/python -m benchmarks --quick

# The tables of docs/ray.md: Ray Serve on two nodes that share this machine.
bench-ray: .venv/bench
	$(BIN)/python -m benchmarks.ray_serve

clean:
	rm -rf .venv

.venv/python:
	$(PYTHON) -m venv .venv
	touch $@

# What runs the service: no training, no tests.
.venv/server: .venv/python pyproject.toml constraints.txt locked/server.txt
	$(PIP_INSTALL_LOCKED) --requirement locked/server.txt
	$(PIP_INSTALL) --editable '.[bulk,heif,telemetry]'
	touch $@

.venv/dev: .venv/server locked/dev.txt
	$(PIP_INSTALL_LOCKED) --requirement locked/dev.txt
	$(PIP_INSTALL) --editable '.[bulk,heif,telemetry,training,ray,dev]'
	touch $@

# An environment of its own: it wants other versions of much that we use.
.venv/checkov: .venv/python locked/checkov.txt
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes $(PIP_ARGS) \
		--requirement locked/checkov.txt
	touch $@

.venv/bench: .venv/dev
	command -v wrk || apt-get install --yes wrk
	$(PIP_INSTALL) --editable '.[bench]'
	touch $@

# In an environment of their own, so that they are in no list of what the service needs.
.venv/tools: .venv/python
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check uv cyclonedx-bom pip-audit
	touch $@
