# Every target makes .venv if it is missing and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= runs/demo
# Real weights, photographs and recorded numbers, where such a folder lies beside this one.
SHARED := $(wildcard ../shared)
export CODISTILL_WEIGHTS ?= $(if $(SHARED),$(abspath $(SHARED)/weights))
export CODISTILL_DATA ?= $(if $(SHARED),$(abspath $(SHARED)/data))
export CODISTILL_GOLDEN ?= $(if $(SHARED),$(abspath $(SHARED)/golden))

.PHONY: venv demo test test-all check format docs dist

venv: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "codistill needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Choose another one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,world,serve]'
	@touch $@

demo: venv
	$(BIN)/codistill demo --out $(RUN)

test: venv
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: venv
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow or not slow'

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

DOCS_STAMP := $(VENV)/.installed-docs

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs: $(DOCS_STAMP)
	$(BIN)/mkdocs build --strict --quiet

dist: venv
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build
