# make demo and make test each work alone on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-fast check bench faults docs docs-run reproduction fuzz fuzz-guided clean

setup: $(STAMP)

# Everything but torch by the hash of its file; which build of torch is taken is the user's choice.
$(STAMP): pyproject.toml constraints.txt requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	rm -rf runs/demo
	$(BIN)/tumortrace demo --out runs/demo

# A file goes to one process, so that its fixtures are made once.
test: setup
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# The tests that take little time for what they find; real data is left alone.
test-fast: setup
	env -u TUMORTRACE_DATA $(BIN)/python -m pytest -q -x -n logical --maxprocesses 4 --dist loadfile tests/data tests/metrics tests/phantoms tests/sources tests/copies \
		tests/evaluation tests/test_docs.py tests/test_prose.py tests/test_imports.py tests/test_config.py \
		tests/test_files.py tests/test_errors.py tests/test_locks.py tests/test_desk.py tests/test_lock.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tools.cards --check
	$(BIN)/python -m pytest -q tests/test_docs.py tests/test_prose.py

bench: setup
	$(BIN)/python -m benchmarks

# Every write of every command fails once, every command is killed, and the disk and the memory are short: an hour.
faults: setup
	$(BIN)/python -m tools.faults
fuzz: setup
	$(BIN)/python -m tests.fuzz.campaign --count 100000

# Guided by coverage: atheris has files for Linux and few Pythons, so it stays out of the environment.
fuzz-guided: setup
	$(BIN)/python -m pip install --quiet --no-deps --target build/atheris atheris==3.0.0
	PYTHONPATH=build/atheris $(BIN)/python -m tests.fuzz.guided

docs: setup
	$(BIN)/python -m tools.site

# Every command and code block of the documentation, on generated data; CI runs the quick ones.
docs-run: setup
	$(BIN)/python -m tools.docs_run

reproduction: setup
	$(BIN)/python -m reproduction $(DATA)

clean:
	rm -rf $(VENV) runs dist build site
