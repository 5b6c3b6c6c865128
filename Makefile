# Every target does its own set-up, once. `make sandbox` is the one to begin with.
PYTHON ?= python3
# Of tests; each takes about 1 GiB of memory.
PROCESSES ?= 2
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

.DEFAULT_GOAL := help
.PHONY: help sandbox run test check lint types imports lock screenshots clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

sandbox: $(VENV)/.for-worker ## the whole bot in your browser: no Discord, no GPU, no keys
	$(BIN)/python bot.py sandbox $(if $(PORT),--port $(PORT))

run: $(VENV)/.for-worker ## the bot on Discord (settings in .env)
	$(BIN)/python bot.py run

test: $(VENV)/.for-developers ## all tests
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal

check: lint types imports test ## everything that has to hold before a change lands

lint: $(VENV)/.for-developers ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.for-developers ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/.for-developers ## the rooms' rules
	$(BIN)/lint-imports

screenshots: $(VENV)/.for-developers ## the pictures in docs/ and README, from the sandbox's page
	$(BIN)/python -m docs.screenshots

lock: $(VENV)/.for-developers ## resolve the dependencies anew
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report build/lock.json '.[worker,cluster,charts,dev]'
	$(BIN)/python -c 'import json; found = json.load(open("build/lock.json"))["install"]; \
	  print("\n".join(sorted(m["name"].lower() + "==" + m["version"].partition("+")[0] \
	  for m in (i["metadata"] for i in found) if m["name"].lower() != "easel")))' > requirements.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Easel needs Python 3.11 or newer.")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.for-worker: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[worker,charts]'
	touch $@

$(VENV)/.for-developers: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[worker,cluster,charts,dev]'
	touch $@ $(VENV)/.for-worker
