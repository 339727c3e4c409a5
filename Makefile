# Two commands set everything up on a machine with Python 3.11, git and make:
#   make demo    shows the main job
#   make test    passes the tests
# Both build their own .venv, with uv when it is there, else with venv and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VARIANTS := 0.0.1 0.0.2 0.0.3
PFLOW := 0.8.1 0.10.0 0.11.0 newest
PFLOW_INSTALLED := $(PFLOW:%=$(VENV)/pflow/%/.installed)
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test bench lint format docs clean

demo: $(VENV)/.package
	@$(BIN)/pocketflow-otel demo

test: $(VENV)/.test $(PFLOW_INSTALLED) lint
	$(BIN)/python -m pytest -n 2 src tests

bench: $(VENV)/.test $(VENV)/pflow/newest/.installed
	$(BIN)/python -m benchmarks

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "pocketflow-otel needs Python 3.11 or later; say which: make PYTHON=python3.12"; exit 1; }
ifdef UV
	@uv venv -q --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "$(PYTHON) has no venv; on Debian: apt-get install python3-venv"; exit 1; }
endif

$(VENV)/.package: pyproject.toml | $(BIN)/python
	@echo "installing pocketflow-otel into $(VENV) ..."
	@$(call install,-e .)
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing pocketflow-otel and its tests' needs into $(VENV) ..."
	@$(call install,-e '.[test]')
	@$(foreach version,$(VARIANTS),$(call install,--no-deps --target $(VENV)/variants/$(version) pocketflow==$(version)) &&) true
	@touch $@ $(VENV)/.package

# Each pflow has an environment of its own, with this package in it as its users have it.
# Those up to 0.10 were made for the mcp of their time, and do not say so.
$(VENV)/pflow/%/.installed: pyproject.toml | $(BIN)/python
	@echo "installing pflow $* and pocketflow-otel into $(VENV)/pflow/$* ..."
	@$(call venv,$(VENV)/pflow/$*)
	@$(call install_in,$(VENV)/pflow/$*,-e . $(if $(filter newest,$*),pflow-cli,pflow-cli==$*) \
		$(if $(filter 0.8% 0.9% 0.10%,$*),'mcp<2'))
	@touch $@

install = $(call install_in,$(VENV),$(1))
ifdef UV
venv = uv venv -q --allow-existing --python $(BIN)/python $(1)
install_in = uv pip install -q --python $(1)/bin/python $(2)
else
venv = $(BIN)/python -m venv $(1)
install_in = $(1)/bin/python -m pip install -q --disable-pip-version-check $(2)
endif
