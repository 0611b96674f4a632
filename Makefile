# Everything anyone needs: make run, make test. The rest is listed by `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint chaos bench load schema lock clean

help: ## Lists these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## Starts the server with its demo catalogue
	@exec $(BIN)/plaudit serve --demo

test: lint ## Runs the linters and all tests
	@$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp ## Checks style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

chaos: $(VENV)/dev.stamp ## A million messages of nonsense, then 20 minutes of faults under load (SECONDS=120 SEED=7 for less; KEEP=folder for the logs of what breaks)
	@$(BIN)/python -m tests.faults --nonsense $(if $(SECONDS),20000,1000000) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep $(KEEP))

bench: $(VENV)/dev.stamp ## Measures every case beside its floor, within ten minutes (CASES=a,b runs some)
	@$(BIN)/python -m loadtests.bench $(CASES)

load: $(VENV)/dev.stamp ## Runs a short load test against a server of its own (ARGS="--users 200" adds options of Locust)
	@$(BIN)/python -m loadtests.run $(ARGS)

schema: $(VENV)/dev.stamp ## Writes sql/schema.sql from the migrations
	@$(BIN)/python -m tests.schema

# dev.txt is a superset of run.txt at the same versions, so both live in one environment.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	--extra embedded --group build

lock: $(VENV)/dev.stamp ## Renews requirements/ from pyproject.toml (UPGRADE=1 takes newer versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) --output-file requirements/run.txt pyproject.toml
	$(LOCK) $(if $(UPGRADE),--upgrade) --group dev --extra mcp --constraint requirements/run.txt \
		--output-file requirements/dev.txt pyproject.toml

clean: ## Removes the virtual environment and caches, not the data in .plaudit
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are touched last, so that whatever was interrupted is done again.
$(VENV)/made.stamp:
	@command -v $(PYTHON) >/dev/null || { \
		echo "Plaudit needs Python 3.11 or newer, and there is no $(PYTHON) here: install it, or name one with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Plaudit needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1): name another with make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments: on Debian or Ubuntu, apt install python3-venv, then try again." >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/made.stamp requirements/run.txt pyproject.toml
	@echo "Installing Plaudit into $(VENV) (once; a minute or so)."
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo "Installing the development tools into $(VENV) (once; a minute or so)."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
