# Postdoc. Everything happens in .venv; nothing is installed system-wide.
#   make lab      JupyterLab with the panel, its files in ./lab (WHERE=folder: there; ARGS: more of its options)
#   make demo     one research run, from topic to repository, in ./demo
#   make test     ruff, mypy, eslint, vitest, pytest, and the panel in a real browser
#   make panel    build the panel again after a change in labextension
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
# One browser at a time: two of them on two cores keep each other waiting.
UI := -q
# Sockets, kernels and browsers on a busy machine: what failed is tried once more, and named in the summary.
AGAIN := --reruns 1 -r sxR
TOPIC ?= Short Term Reversal
WHERE ?= lab
export POSTDOC_EMULATE ?= $(abspath $(VENV)/emulate)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The panel: JupyterLab's builder brings jlpm; hatch_build.py finds a Node, or says which wheel brings one.
JS := labextension
# In a container one is often root, which Jupyter wants to be told.
ROOT_TOO := $(if $(filter 0,$(shell id -u)),--allow-root)
BUILT := extension/jupyterlab_postdoc
SHARE := $(VENV)/share/jupyter/labextensions/jupyterlab-postdoc
SOURCES := $(shell find $(JS)/src $(JS)/style $(JS)/schema $(JS)/scripts -type f 2>/dev/null) $(wildcard $(JS)/*.json) $(JS)/yarn.lock
NODE_PATH = PATH="$$($(abspath $(BIN))/python $(CURDIR)/hatch_build.py path)"

.PHONY: help lab panel demo test test-js test-ui chaos bench science clean install
help:
	@sed -n '2,8s/^#   //p' Makefile

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "Postdoc needs Python 3.11 or newer; there is no $(PYTHON). Choose one: make PYTHON=python3.12 …"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Postdoc needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Choose another: make PYTHON=python3.12 …"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@command -v git >/dev/null || { echo "Postdoc needs git. On Debian and Ubuntu: apt install git"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@echo "Installing Postdoc into $(VENV) (once; a minute or two) …"
	@SKIP_JUPYTER_BUILDER=1 $(PIP) install -e .
	@touch $@

$(VENV)/.tested: pyproject.toml $(VENV)/.made
	@echo "Installing Postdoc and its test tools into $(VENV) (once) …"
	@SKIP_JUPYTER_BUILDER=1 $(PIP) install -e '.[test]'
	@touch $@ $(VENV)/.installed $(VENV)/.lab

$(VENV)/.lab: pyproject.toml $(VENV)/.made
	@echo "Installing Postdoc and JupyterLab into $(VENV) (once; two minutes or so) …"
	@SKIP_JUPYTER_BUILDER=1 $(PIP) install -e '.[lab]'
	@touch $@ $(VENV)/.installed

$(VENV)/.node: pyproject.toml hatch_build.py $(VENV)/.installed
	@$(PIP) install 'jupyter-builder>=1.2.0,<2'
	@needs=$$($(BIN)/python hatch_build.py needs); if [ -n "$$needs" ]; then \
	  echo "There is no Node 20 or newer here: getting one into $(VENV) (once) …"; eval "$(PIP) install $$needs"; fi
	@touch $@

$(JS)/node_modules/.yarn-state.yml: $(JS)/yarn.lock $(JS)/package.json | $(VENV)/.node
	@echo "Getting what the panel is built with (once) …"
	@cd $(JS) && $(NODE_PATH) jlpm install --immutable >$(abspath $(VENV))/jlpm.log 2>&1 || { tail -20 $(abspath $(VENV))/jlpm.log; exit 1; }
	@touch $@

# Copied, not linked: pip would follow a link when it removes what it has installed.
$(VENV)/.panel: $(SOURCES) $(JS)/node_modules/.yarn-state.yml $(VENV)/.installed
	@echo "Building the panel …"
	@cd $(JS) && $(NODE_PATH) jlpm build:prod >$(abspath $(VENV))/panel.log 2>&1 || { tail -40 $(abspath $(VENV))/panel.log; exit 1; }
	@rm -rf $(SHARE)
	@mkdir -p $(dir $(SHARE))
	@cp -R $(BUILT)/labextension $(SHARE)
	@touch $@

# A model server for the tests; without Node those that need it are skipped and say so.
$(VENV)/.aimock: $(VENV)/.made
	@if command -v npm >/dev/null; then echo "Installing the tests' model server (once) …"; \
	  npm install --prefix $(VENV)/aimock --no-save --no-package-lock --no-audit --no-fund --silent @copilotkit/aimock@1.43; \
	  else echo "npm is missing: the tests with a scripted model server are skipped (apt install npm)."; fi
	@touch $@

# A GitHub for the tests, with the Node that it needs; `emulate` on npm is another program from 1.0 on. npm runs the
# one script that gets this Node, and no other.
$(VENV)/.emulate: $(VENV)/.made
	@if command -v npm >/dev/null; then echo "Installing the tests' GitHub (once) …"; \
	  npm install --prefix $(VENV)/emulate --no-save --no-package-lock --no-audit --no-fund --silent --ignore-scripts node@24 emulate@0.12.2 && \
	  npm rebuild --prefix $(VENV)/emulate --silent node >/dev/null; \
	  else echo "npm is missing: the tests with an emulated GitHub are skipped (apt install npm)."; fi
	@touch $@

install: $(VENV)/.installed

panel: $(VENV)/.node
	@rm -f $(VENV)/.panel
	@$(MAKE) --no-print-directory $(VENV)/.panel

lab: $(VENV)/.lab $(VENV)/.panel
	@mkdir -p '$(WHERE)'
	@echo "JupyterLab opens in your browser, its files are in $(WHERE). Postdoc is in its left sidebar. Ctrl-C ends it."
	@$(BIN)/jupyter lab $(ROOT_TOO) --ServerApp.root_dir='$(abspath $(WHERE))' --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(ARGS)

# It publishes nothing, even where the environment holds a token.
demo: $(VENV)/.installed
	@env -u GITHUB_TOKEN -u GH_TOKEN $(BIN)/jupyter-postdoc research "$(TOPIC)" --root demo

test: $(VENV)/.tested $(VENV)/.aimock $(VENV)/.emulate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check extension tests bench
	$(BIN)/mypy
	@command -v bwrap >/dev/null || echo "bubblewrap is missing: the tests of the sandbox are skipped (apt install bubblewrap)."
	$(BIN)/python -m pytest tests -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(AGAIN)
	@$(MAKE) --no-print-directory test-js test-ui

# With a Node from pip when there is none: nothing is skipped.
test-js: $(JS)/node_modules/.yarn-state.yml $(VENV)/.tested
	cd $(JS) && $(NODE_PATH) node scripts/protocol.mjs --check
	cd $(JS) && $(NODE_PATH) jlpm check
	cd $(JS) && $(NODE_PATH) POSTDOC_PYTHON='$(abspath $(BIN))/python' jlpm test

test-ui: $(VENV)/.tested $(VENV)/.panel
	@if [ -z "$$CI" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then \
	  echo "Chromium is missing: the tests of the panel in a browser are skipped (apt install chromium fonts-dejavu-core)."; \
	else echo "$(BIN)/python -m pytest tests/ui $(UI)"; PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest tests/ui $(UI) $(AGAIN); fi

chaos: $(VENV)/.tested
	POSTDOC_CHAOS_KILLS=$(N) $(BIN)/python -m pytest tests/chaos -q -s --timeout=0

bench: $(VENV)/.tested
	@POSTDOC_PEERS=$(PEERS) $(BIN)/python -P bench/run.py

science: $(VENV)/.tested
	@$(BIN)/python -P bench/science.py --markdown docs/science.md

clean:
	rm -rf $(VENV) demo lab screenshots build dist $(BUILT)/labextension $(BUILT)/static
	rm -rf $(JS)/node_modules $(JS)/lib $(JS)/.yarn $(JS)/tsconfig.tsbuildinfo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results*.json bench/.peers
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
