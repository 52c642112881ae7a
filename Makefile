# Everything sets itself up: a virtual environment in .venv, and throw-away servers for the tests.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 2000
INSTALL = $(BIN)/python -m pip install --quiet
NO_INSTALL = echo "pip could not install what is needed, see above: is a package index within reach?" >&2; exit 1

.PHONY: demo test check pytest conformance simulate bench services services-down clean

# The main job: orders through a workflow on one SQLite file, with a worker that is killed on the way.
demo: .venv/ready-run
	$(BIN)/python -m examples.demo

# Everything: lint, types, and all tests on every backend, real servers included.
test: .venv/ready-test
	scripts/with_servers.sh scripts/test.sh

# Lint, types, and the order of the rooms.
check: .venv/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q tests/unit/test_structure.py

# The conformance kit on the backends that need no server.
conformance: .venv/ready-test
	$(BIN)/python -m pytest tests/test_conformance.py --backends memory,sqlite

# More seeds than `make test` runs: make simulate SEEDS=10000
simulate: .venv/ready-test
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# What the engine reaches, beside the limit of each store in the same run: make bench BENCH=--profile (or --listings)
bench: .venv/ready-test
	scripts/with_servers.sh $(BIN)/python -u -m benchmarks $(BENCH)

# Servers for development; prints what to export.
services:
	@scripts/services.sh up postgres pgbouncer

services-down:
	@scripts/services.sh down

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv, once …"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "'$(PYTHON) -m venv' failed, see above; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(INSTALL) --upgrade "pip>=25.1" || { $(NO_INSTALL); }

.venv/ready-run: pyproject.toml | .venv/bin/python
	@$(INSTALL) -e ".[pydantic]" || { $(NO_INSTALL); }
	@touch $@

.venv/ready-test: pyproject.toml | .venv/bin/python
	@$(INSTALL) --upgrade "pip>=25.1" || { $(NO_INSTALL); }
	@$(INSTALL) -e . --group test --group lint || { $(NO_INSTALL); }
	@touch $@ .venv/ready-run

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist
