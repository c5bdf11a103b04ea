# One command per job. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON := $(BIN)/python
STAMP  := $(VENV)/.ready
NPM    := node_modules/.ready
OSLS   := SLS_NOTIFICATIONS_MODE=off node_modules/.bin/osls
STAGE  ?= dev

.PHONY: help setup demo up test check format bench lag contract lock package clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with all that the other commands need

# Python 3.12 or newer is taken from the PATH, else from pyenv; uv installs what requirements.txt pins by hash.
$(STAMP): requirements.txt pyproject.toml infra/local/setup.sh
	@bash infra/local/setup.sh $(VENV)
	@touch $@

demo: setup ## One learner holds a short speaking test with Maya, live in this terminal
	@$(PYTHON) -m infra.local demo

up: setup ## Start the local cloud and keep it until Ctrl-C
	@$(PYTHON) -m infra.local up --with-parent

# The tests of the deployed cloud compile serverless.yml, where there is a Node.js to do it with.
test: setup ## Run the tests
	@[ -e $(NPM) ] || ! command -v npm >/dev/null || $(MAKE) -s $(NPM) || echo "No packages for Node.js: some tests are skipped."
	@$(PYTHON) -m pytest

check: setup ## Formatter, linter, types, published contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTHON) -m gateway.contract --check

format: setup ## Format and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure added latency, CPU and memory against the SDK alone
	@$(PYTHON) -m tests.bench

lag: setup ## What the lag monitor decides on lines whose lag is known
	@$(PYTHON) -m tests.lag

contract: setup ## Write the AsyncAPI document and the JSON Schemas from the message models
	$(PYTHON) -m gateway.contract --write

lock: setup ## Resolve requirements.txt anew, with hashes and without addresses
	$(BIN)/uv pip compile -q --python-version 3.12 --generate-hashes --universal --no-emit-index-url --no-annotate \
	  --no-header pyproject.toml --group local --group dev -o requirements.txt

# Needs neither the whole set-up nor credentials: an empty environment with uv is enough.
package: $(BIN)/uv $(NPM) ## Make what Lambda runs, and the compiled template of STAGE (dev), under build/
	@$(PYTHON) -m infra.package
	@$(OSLS) package --stage $(STAGE) --package build/compiled/$(STAGE)

$(BIN)/uv: infra/local/setup.sh
	@bash infra/local/setup.sh --only-uv $(VENV)
	@touch $@

$(NPM): package.json package-lock.json .npmrc
	@npm ci --loglevel=error
	@touch $@

clean: ## Remove what the other commands made
	rm -rf $(VENV) build node_modules .serverless .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
