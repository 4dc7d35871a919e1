# Two commands do everything on a fresh machine: `make serve` and `make test`.
# PIP_ARGS chooses where wheels come from, e.g. the CPU-only build of torch on Linux:
#   make serve PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)

.PHONY: serve test check format compare bench bench-quick clean

serve: .venv/server
	$(BIN)/clut-enhance serve

test: .venv/dev
	$(BIN)/pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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

.venv/dev: .venv/server
	$(PIP_INSTALL) --editable '.[heif,training,dev]'
	touch $@

.venv/bench: .venv/dev
	command -v wrk || apt-get install --yes wrk
	$(PIP_INSTALL) --editable '.[bench]'
	touch $@
