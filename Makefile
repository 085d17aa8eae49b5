# make demo and make test each work alone on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-fast check bench reproduction clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	rm -rf runs/demo
	$(BIN)/tumortrace demo --out runs/demo

test: setup
	$(BIN)/python -m pytest

test-fast: setup
	$(BIN)/python -m pytest -q -x tests/data tests/metrics tests/phantoms tests/test_docs.py tests/test_prose.py tests/test_imports.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/test_docs.py tests/test_prose.py

bench: setup
	$(BIN)/python -m benchmarks

reproduction: setup
	$(BIN)/python -m reproduction $(DATA)

clean:
	rm -rf $(VENV) runs dist
