# On a fresh machine, `make serve` installs and serves, and `make test` installs and tests.
# PIP_ARGS selects the package index, for example of the CPU build of torch on Linux:
#   make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
# Environment variables, so that the constraints apply to build dependencies as well; newer versions
# of pip read the second one.
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(PIP) install $(PIP_ARGS)
# Installs the locked packages by hash. torch and its own dependencies are not locked, since the wheel
# depends on the index.
PIP_INSTALL_LOCKED := $(PIP) install --no-deps --require-hashes $(PIP_ARGS)

.PHONY: serve test test-fast test-generic compiled coverage check check-lowest policies readme format tools image-check compare bench bench-quick bench-ray lock sbom audit \
	corpora fuzz overload disconnects soak rolling clean

serve: .venv/server
	$(BIN)/clut-enhance serve

# A process more than cores, at most 5: many tests wait. Tests of one file share a server. The slow
# files come first; pytest-xdist would begin with those of the most tests.
PROCESSES := $(shell $(PYTHON) -c 'import os; print(min(5, os.cpu_count() + 1))')
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

# The tests start many processes of Python: each module is compiled once, not by every process.
test test-fast test-generic compiled coverage: export PYTHONDONTWRITEBYTECODE :=

test: .venv/dev tools
	$(MAKE) --jobs test-generic compiled
	$(PYTEST)

# The numeric tests run twice: rounding depends on the instruction set and the number of threads.
test-generic: .venv/dev
	TEST_PROCESSOR=generic TEST_THREADS=2 $(BIN)/pytest -m 'not slow' $(NUMERIC_TESTS)

# Compiles the loops once, or each process of the tests would.
compiled: .venv/dev
	$(BIN)/clut-enhance compile-kernel

# All but the tests that start a server, Ray, Prometheus, an S3 or whole programs.
test-fast: .venv/dev
	$(PYTEST) -m 'not slow'

# Measures which lines the fast tests run; fails below the floor in pyproject.toml.
coverage: .venv/dev
	$(BIN)/coverage run -m pytest -m 'not slow'
	$(BIN)/coverage report --skip-covered

NUMERIC_TESTS := tests/networks tests/luts/test_apply.py tests/training/test_trainer.py

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PIP) check
	$(BIN)/pytest --quiet tests/test_dependencies.py

# The fast tests with the lowest versions that pyproject.toml allows. torch stays at its pin, since
# an index may lack old builds for this CPU; LOWEST_TORCH=torch==2.6.0 takes the lowest one. Old
# packages warn, so warnings are no errors here.
LOWEST_TORCH ?= $(shell grep '^torch==' constraints.txt)

check-lowest: .venv/lowest
	.venv/lowest/bin/python -m pytest -m 'not slow' -W default --disable-warnings \
		--ignore tests/test_dependencies.py --ignore tests/deploy

# Programs of the tests that are not Python packages.
tools:
	deploy/check/tools.sh deploy/check/packages.txt

# Lints the manifests and the Dockerfile.
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

# Builds and runs the image without a Docker engine. Needs root, Debian and 6 GB.
image-check: .venv/dev
	deploy/check/tools.sh deploy/check/image-packages.txt
	$(BIN)/python deploy/check/image.py

# Updates the tables of the README and docs/settings.md that are generated from the code.
readme: .venv/dev
	$(BIN)/python -m tests.helpers.readme

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Trains the networks of the CLUT-Net paper and writes docs/compare.md and .png. Resumes when it was
# interrupted. TEACHERS is a model store with lut3, adaint and seplut.
PHOTOS ?= photos
TEACHERS ?= teachers
PAIRS ?= pairs

compare: .venv/dev
	$(BIN)/clut-enhance compare app/training/recipes/compare.toml \
		--photos $(PHOTOS) --teachers $(TEACHERS) --pairs $(PAIRS)

# Trains the embedded network `default`: docs/training.md, "Making it again".
.PHONY: train-default

train-default: .venv/dev
	$(BIN)/clut-enhance distil app/training/recipes/default-start.toml
	$(BIN)/clut-enhance distil app/training/recipes/default.toml

# Updates the hashes after a change of constraints.txt.
lock: .venv/tools
	echo torch > .venv/unlocked
	echo 'checkov==3.3.30' | .venv/tools/bin/uv pip compile - --output-file locked/checkov.txt \
		--generate-hashes --no-annotate --no-header --quiet
	.venv/tools/bin/uv pip compile $(LOCK_ARGS) --output-file locked/server.txt
	.venv/tools/bin/uv pip compile $(LOCK_ARGS) --extra training --extra ray --extra dev \
		--output-file locked/dev.txt

LOCK_ARGS := pyproject.toml --extra bulk --extra heif --extra telemetry --constraint constraints.txt \
	--excludes .venv/unlocked --generate-hashes --no-annotate --no-header --quiet

# Lists the installed packages (CycloneDX).
sbom: .venv/server .venv/tools
	.venv/tools/bin/cyclonedx-py environment --pyproject pyproject.toml \
		--output-file sbom.json $(BIN)/python

# Looks up known vulnerabilities of the pinned packages on PyPI; fails without a response.
audit: .venv/tools
	.venv/tools/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# Downloads the test images of other projects and sends them to the service, damaged as well.
corpora: .venv/dev
	mkdir -p corpora/sources
	$(PIP) download --no-binary :all: --no-deps --dest corpora/sources Pillow pillow-heif Wand
	for archive in corpora/sources/*.tar.gz; do tar xzf $$archive -C corpora; done
	cd corpora/sources && apt-get download libjxl-testdata
	dpkg -x corpora/sources/libjxl-testdata_*.deb corpora/libjxl
	benchmarks/debian_sources.sh corpora libheif opencv
	$(BIN)/python -m benchmarks.corpora corpora

# Sends the animations among the test images of other projects, and compares them with Chromium.
.PHONY: animations

animations: .venv/dev tools
	mkdir -p .venv/animations/sources
	$(PIP) download --no-binary :all: --no-deps --dest .venv/animations/sources Pillow
	for archive in .venv/animations/sources/*.tar.gz; do tar xzf $$archive -C .venv/animations; done
	benchmarks/debian_sources.sh .venv/animations gdk-pixbuf vips giflib
	$(BIN)/python -m benchmarks.animations .venv/animations

# Coverage-guided fuzzing, SECONDS per target; a failing input is written to a file crash-*.
SECONDS ?= 60

fuzz: .venv/dev
	$(PIP) install 'atheris>=3.0'
	$(BIN)/python -m tests.fuzz seeds .venv/seeds
	set -e; for target in header pixels gain_map boxes jxl video_header xmp icc metadata exif cube token; do \
		$(BIN)/python -m tests.fuzz $$target -max_total_time=$(SECONDS) .venv/seeds/$$target; \
	done

# docs/reliability.md has the figures of these.
overload disconnects soak: .venv/dev
	$(BIN)/python -m benchmarks.reliability $@

# Needs Debian's haproxy.
rolling: .venv/dev
	$(BIN)/python -m benchmarks.rolling

# First paint, bytes and speed of the page in Chromium.
.PHONY: page

page: .venv/dev tools
	$(BIN)/python -m benchmarks.page

.PHONY: hostile hot-path worst-case event-loop

# Sends files that are made to harm the service: docs/reliability.md, "Hostile files".
HOSTILE ?= ../shared/cases/hostile

hostile: .venv/dev
	$(BIN)/python -m benchmarks.hostile $(HOSTILE)

# Peak memory under concurrent worst-case images, and probes under inputs for the event loop.
worst-case: .venv/dev
	$(BIN)/python -m benchmarks.worst_case

event-loop: .venv/dev
	$(BIN)/python -m benchmarks.event_loop

# Requests per second and CPU time compared with an earlier commit.
BASELINE ?= 878ec6c

hot-path: .venv/bench
	$(BIN)/python -m benchmarks.hot_path $(BASELINE)

# The tables of docs/performance.md, in 15 minutes or in 2. Needs the load generator wrk.
bench: .venv/bench
	$(BIN)/python -m benchmarks

bench-quick: .venv/bench
	$(BIN)/python -m benchmarks --quick

# Ray Serve on two nodes that share this machine.
bench-ray: .venv/bench
	$(BIN)/python -m benchmarks.ray_serve

clean:
	rm -rf .venv

.venv/python:
	$(PYTHON) -m venv .venv
	touch $@

# The packages of the service.
.venv/server: .venv/python pyproject.toml constraints.txt locked/server.txt
	$(PIP_INSTALL_LOCKED) --requirement locked/server.txt
	$(PIP_INSTALL) --editable '.[bulk,heif,telemetry]'
	touch $@

.venv/dev: .venv/server locked/dev.txt
	$(PIP_INSTALL_LOCKED) --requirement locked/dev.txt
	$(PIP_INSTALL) --editable '.[bulk,heif,telemetry,training,ray,dev]'
	touch $@

# A separate environment: checkov needs other versions of shared packages.
.venv/checkov: .venv/python locked/checkov.txt
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes $(PIP_ARGS) \
		--requirement locked/checkov.txt
	touch $@

.venv/bench: .venv/dev
	command -v wrk || apt-get install --yes wrk
	$(PIP_INSTALL) --editable '.[bench]'
	touch $@

# Without ray, which pins many of its dependencies.
.venv/lowest: .venv/tools pyproject.toml constraints.txt
	echo torch > .venv/unlocked
	.venv/tools/bin/uv pip compile pyproject.toml --resolution lowest-direct --extra bulk \
		--extra heif --extra telemetry --extra training --extra dev --excludes .venv/unlocked \
		--no-annotate --no-header --quiet --output-file .venv/lowest.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
		--requirement .venv/lowest.txt '$(LOWEST_TORCH)'
	$@/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# A separate environment, so that lists of the service's packages do not include these tools.
.venv/tools: .venv/python
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check uv cyclonedx-bom pip-audit
	touch $@
