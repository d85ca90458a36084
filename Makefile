# Everything on a bare machine: `make demo` and `make test` make their own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

.PHONY: demo test test-fast lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## build the reference ensemble and classify an image with three of its members
	$(BIN)/hnexport build --members 10 --force
	$(BIN)/hnexport predict bundles/wrn-28-10-hypernet-10 examples/images/cat.png --members 2,3,7

test: $(VENV)/.installed-dev  ## every test
	$(BIN)/python -m pytest

test-fast: $(VENV)/.installed-dev  ## without the tests that build WRN-28-10
	$(BIN)/python -m pytest -m "not reference"

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) bundles build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"hnexport needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}: give PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.installed
