# Postdoc. Everything happens in .venv; nothing is installed system-wide.
#   make demo     one research run, from topic to repository, in ./demo
#   make test     ruff, mypy and all tests
#   make chaos    kill the server again and again (N=1000 times)
#   make bench    the figures of performance, as a table and as bench/results.json (PEERS=1: beside Jupyter AI)
#   make science  every template over 200 seeds

SHELL := /bin/bash
# Some machines set this; then every process would compile the package again.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= python3
VENV ?= .venv
N ?= 1000
JOBS ?= 2
TOPIC ?= Short Term Reversal

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test chaos bench science clean install
help:
	@sed -n '2,6s/^#   //p' Makefile

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "Postdoc needs Python 3.11 or newer; there is no $(PYTHON). Choose one: make PYTHON=python3.12 …"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Postdoc needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Choose another: make PYTHON=python3.12 …"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@command -v git >/dev/null || { echo "Postdoc needs git. On Debian and Ubuntu: apt install git"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@echo "Installing Postdoc into $(VENV) (once; a minute or two) …"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.tested: pyproject.toml $(VENV)/.made
	@echo "Installing Postdoc and its test tools into $(VENV) (once) …"
	@$(PIP) install -e '.[test]'
	@touch $@ $(VENV)/.installed

# A model server for the tests; without Node those that need it are skipped and say so.
$(VENV)/.aimock: $(VENV)/.made
	@if command -v npm >/dev/null; then echo "Installing the tests' model server (once) …"; \
	  npm install --prefix $(VENV)/aimock --no-save --no-package-lock --no-audit --no-fund --silent @copilotkit/aimock@1.43; \
	  else echo "npm is missing: the tests with a scripted model server are skipped (apt install npm)."; fi
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	@$(BIN)/jupyter-postdoc research "$(TOPIC)" --root demo

test: $(VENV)/.tested $(VENV)/.aimock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check extension tests bench
	$(BIN)/mypy
	@command -v bwrap >/dev/null || echo "bubblewrap is missing: the tests of the sandbox are skipped (apt install bubblewrap)."
	$(BIN)/python -m pytest tests -q -n $(JOBS) --dist loadfile

chaos: $(VENV)/.tested
	POSTDOC_CHAOS_KILLS=$(N) $(BIN)/python -m pytest tests/chaos -q -s --timeout=0

bench: $(VENV)/.tested
	@POSTDOC_PEERS=$(PEERS) $(BIN)/python -P bench/run.py

science: $(VENV)/.tested
	@$(BIN)/python -P bench/science.py --markdown docs/science.md

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results*.json bench/.peers
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
