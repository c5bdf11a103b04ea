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

.PHONY: help setup demo up test check format bench hostile faults endurance lag shaper look contract lock clean

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
	@$(PYTHON) -m pytest -q -n 2 --dist worksteal tests/core
	@$(PYTHON) -m pytest --ignore tests/core

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

look: setup ## Open REPORT=report.html in Chromium, look for faults, keep pictures beside it
	@$(if $(REPORT),,$(error which report? make look REPORT=DIR/report.html))
	@$(PYTHON) -m tests.browser $(REPORT) --out $(dir $(REPORT))pictures

shaper: setup ## Measure the simulated lines from outside, and beside lines below TCP
	@$(PYTHON) -m tests.shaper

hostile: setup ## Hold fifty conversations beside one hostile client of each kind, and without it
	@$(PYTHON) -m tests.bench.beside

faults: setup ## Break everything that can break, under conversations, and print what was lost (4 minutes)
	@$(PYTHON) -m tests.faults

endurance: setup ## Hold the full test with a loss in each part, in a minute and a half; the relay's memory
	@$(PYTHON) -m tests.endurance

contract: setup ## Write the AsyncAPI document and the JSON Schemas from the message models
	$(PYTHON) -m gateway.contract --write

LOCK := $(BIN)/uv pip compile -q --generate-hashes --universal --no-emit-index-url --no-annotate --no-header

lock: setup ## Resolve requirements.txt anew, with hashes and without addresses
	$(LOCK) --python-version 3.12 pyproject.toml --group local --group dev -o requirements.txt
	$(LOCK) --python-version 3.13 --group vet -o infra/vet/requirements.txt
	$(LOCK) --python-version 3.13 --group rehearse -o infra/rehearse/requirements.txt

.PHONY: package vet deploy cost rehearse

# Needs neither the whole set-up nor credentials: an empty environment with uv is enough.
package: $(BIN)/uv $(NPM) ## Make what Lambda runs, and the compiled template of STAGE (dev), under build/
	@$(if $(filter dev staging prod,$(STAGE)),,$(error STAGE is $(STAGE); there are dev, staging and prod))
	@$(PYTHON) -m infra.package
	@$(OSLS) package --stage $(STAGE) --package build/compiled/$(STAGE)

vet: setup package build/vet/.ready ## Check the compiled templates with ours, cfn-lint, checkov and cfn-guard
	@for stage in dev staging prod; do \
	  MAYA_EGRESS=$$([ $$stage = staging ] && echo nat || echo ipv6) $(OSLS) package --stage $$stage --package build/vet/$$stage >/dev/null || exit 1; done
	$(PYTHON) -m infra.checks $(VETTED)
	$(BIN)/cfn-lint -r us-east-1 -i W3005 -t $(VETTED)
	$(PYTHON) -m infra.vet --checkov build/vet/env/bin/checkov --rules build/vet/package/rules/control-tower/cfn-guard \
	  --guard build/vet/package/bin/$(GUARD_OS)/$$(uname -m | sed s/arm64/aarch64/)/cfn-guard $(VETTED)

deploy: setup package ## Deploy STAGE (dev) to the AWS account of your credentials, after looking at it
	@$(PYTHON) -m infra.deploy build/compiled/$(STAGE)/cloudformation-template-update-stack.json
	@$(OSLS) deploy --stage $(STAGE) --package build/compiled/$(STAGE)

cost: setup package ## What each stage costs idle, and what a conversation costs
	@for stage in dev staging prod; do $(OSLS) package --stage $$stage --package build/cost/$$stage >/dev/null || exit 1; done
	@$(PYTHON) -m infra.cost $(foreach stage,dev staging prod,build/cost/$(stage)/cloudformation-template-update-stack.json)

rehearse: setup package build/rehearse/.ready ## Deploy to an AWS on this machine, hold a conversation through it, update, remove
	@$(PYTHON) -m infra.package --machine here
	@$(OSLS) package --stage dev --package build/rehearse/service >/dev/null
	@$(PYTHON) -m infra.rehearse.coldstart build/rehearse/service/cloudformation-template-update-stack.json
	@$(PYTHON) -m infra.rehearse

build/rehearse/.ready: infra/rehearse/requirements.txt
	@mkdir -p build/rehearse
	@$(BIN)/uv venv -q --clear --python $(PYTHON) build/rehearse/env
	@$(BIN)/uv pip install -q --python build/rehearse/env/bin/python --require-hashes -r infra/rehearse/requirements.txt
	@touch $@

GUARD_OS := $(if $(filter Darwin,$(shell uname -s)),macos,ubuntu)
VETTED := $(foreach stage,dev staging prod,build/vet/$(stage)/cloudformation-template-update-stack.json)

# All that can be chosen is chosen somewhere, so that every file of infra/ is looked at.
vet: export MAYA_DOMAIN = example.com
vet: export MAYA_HOSTED_ZONE_ID = Z0123456789ABC
vet: export MAYA_FRONT = front
vet: export MAYA_ALARM_EMAIL = operator@example.com

build/vet/.ready: infra/vet/requirements.txt
	@mkdir -p build/vet
	@$(BIN)/uv venv -q --clear --python $(PYTHON) build/vet/env
	@$(BIN)/uv pip install -q --python build/vet/env/bin/python --require-hashes -r infra/vet/requirements.txt
	@cd build/vet && npm pack --silent @cdklabs/cdk-validator-cfnguard@0.0.62 >/dev/null && tar xzf cdklabs-*.tgz
	@chmod +x build/vet/package/bin/*/*/cfn-guard
	@touch $@

$(BIN)/uv: infra/local/setup.sh
	@bash infra/local/setup.sh --only-uv $(VENV)
	@touch $@

$(NPM): package.json package-lock.json .npmrc
	@command -v npm >/dev/null || { echo "npm is not here: this needs Node.js 20.19 or newer." >&2; exit 1; }
	@npm ci --loglevel=error
	@touch $@

clean: ## Remove what the other commands made
	rm -rf $(VENV) build node_modules .serverless .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
