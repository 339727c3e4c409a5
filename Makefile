# Two commands set everything up on a machine with Python 3.11, git and make:
#   make demo    shows the main job
#   make check   passes the quick tests
# Environments are made in .venv, by uv: the one on PATH, else one that pip brings there.
#
# What is chosen on the command line:
#   PYTHON=python3.13   the Python of a new environment
#   OTEL=oldest         everything as old as pyproject.toml allows, in .venv/oldest
#   OTEL=newest         the newest OpenTelemetry, without the packages that pin an older one
#   OTEL=prerelease     the same with pre-releases, in .venv/prerelease
#   ARGS="-k openai"    instead of all tests: folders, files and options for pytest

PYTHON ?= python3
WORKERS ?= 2
OTEL ?=
ARGS ?=
VENV := .venv$(OTEL:%=/%)
BIN := $(VENV)/bin
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
VARIANTS := 0.0.1 0.0.2 0.0.3
PFLOW := 0.8.1 0.10.0 0.11.0 newest
WORLD := clients queues servers stores

OTEL_CHOICES := oldest newest prerelease
ifneq ($(filter-out $(OTEL_CHOICES),$(OTEL)),)
$(error OTEL=$(OTEL): choose among $(OTEL_CHOICES))
endif
RESOLUTION_oldest := --resolution lowest-direct
RESOLUTION_prerelease := --prerelease allow
RESOLUTION := $(RESOLUTION_$(OTEL))
GROUPS := --group test $(if $(OTEL),,--group companions)

VARIANTS_INSTALLED := $(VARIANTS:%=.venv/variants/%/.installed)
PFLOW_INSTALLED := $(PFLOW:%=$(VENV)/pflow/%/.installed)
WORLD_TESTS := $(WORLD:%=test-world-%)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
SNAPSHOTS := tests/pflow/test_same_as_bare.py tests/pflow/test_terminal.py \
	tests/integration/test_live_view.py tests/unit/formats/pflow

# The interpreter is named wherever one is needed.
export UV_PYTHON_DOWNLOADS := never

.PHONY: help demo check test test-full snapshots test-world $(WORLD_TESTS) bench environments lint format clean
.DELETE_ON_ERROR:

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.package ## the main job: a flow that is seen while it runs
	@$(BIN)/pocketflow-otel demo

check: lint ## lint, types and the tests that start no process, with fewer examples: in a minute or so
	POCKETFLOW_TEST_QUICK=1 $(PYTEST) $(or $(ARGS),src tests/unit)

test: environments lint ## lint, types and every test of ours, those with four versions of pflow too
	$(PYTEST) --durations=20 $(or $(ARGS),tests/pflow tests/integration src tests/unit)

test-full: ## make test, with every run of pflow in a process of its own
	POCKETFLOW_TEST_FULL=1 $(MAKE) test

test-world: $(WORLD_TESTS) ## tests with other people's servers, clients and programs

# Some of these are plugins of pytest, too.
$(WORLD_TESTS): test-world-%: $(VENV)/world/%/.installed
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(VENV)/world/$*/bin/python -m pytest tests/world/$*

snapshots: environments ## renew what tests compare screens and trees with: look at `git diff` afterwards
	UPDATE_SNAPSHOTS=1 $(PYTEST) $(SNAPSHOTS)

bench: $(VENV)/.test $(VENV)/pflow/newest/.installed ## what tracing costs
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.instructions

lint: $(VENV)/.test ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.test ## mend style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove environments and caches
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*

# Environments

environments: $(VENV)/.test
	@$(MAKE) -s --no-print-directory -j4 $(PFLOW_INSTALLED)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "pocketflow-otel needs Python 3.11 or later; say which: make PYTHON=python3.12"; exit 1; }
ifeq ($(UV),$(BIN)/uv)
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) has no venv; on Debian: apt-get install python3-venv"; exit 1; }
else
	@$(call venv,$(PYTHON),$(VENV))
endif

$(BIN)/uv: | $(BIN)/python
	@echo "installing uv into $(VENV) ..."
	@$(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv

$(VENV)/.package: pyproject.toml | $(BIN)/python $(UV)
	@echo "installing pocketflow-otel into $(VENV) ..."
	@$(call install,$(VENV),-e . $(RESOLUTION))
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python $(UV) $(VARIANTS_INSTALLED)
	@echo "installing pocketflow-otel and what its tests need into $(VENV) ..."
	@$(call install,$(VENV),-e . $(GROUPS) $(RESOLUTION))
	@touch $@ $(VENV)/.package

# Releases of PocketFlow that tests load side by side.
.venv/variants/%/.installed: | $(BIN)/python $(UV)
	@$(call install,$(VENV),--no-deps --target $(@D) pocketflow==$*)
	@touch $@

# Each pflow has an environment of its own, with this package in it as its users have it.
# Those up to 0.10 were made for the mcp of their time, and do not say so.
$(VENV)/pflow/%/.installed: pyproject.toml | $(BIN)/python $(UV)
	@echo "installing pflow $* and pocketflow-otel into $(VENV)/pflow/$* ..."
	@$(call venv,$(BIN)/python,$(VENV)/pflow/$*)
	@$(call install,$(VENV)/pflow/$*,-e . $(if $(filter newest,$*),pflow-cli,pflow-cli==$*) \
		$(if $(filter 0.8% 0.9% 0.10%,$*),'mcp<2'))
	@touch $@

$(VENV)/world/%/.installed: pyproject.toml | $(BIN)/python $(UV)
	@echo "installing pocketflow-otel and what tests/world/$* needs into $(VENV)/world/$* ..."
	@$(call venv,$(BIN)/python,$(VENV)/world/$*)
	@$(call install,$(VENV)/world/$*,-e . --group world-$*)
	@touch $@

venv = $(UV) venv -q --allow-existing --python $(1) $(2)
install = $(UV) pip install -q --python $(1)/bin/python $(2)
