# Everything a developer does with the repository. `make` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
PROJECTS := protos shared services/discovery services/workflow services/webhooks services/monitoring sdk cli
export PYTHONPATH :=

.DEFAULT_GOAL := help
.PHONY: help setup run up test chaos lint format types protos baseline schema dashboards locks bench clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(BIN)/.ready ## Make .venv with everything, from the package index (a minute; no root)

$(BIN)/.ready: locks/dev.txt $(PROJECTS:%=%/pyproject.toml)
	@echo "Setting up .venv from the package index; this takes about a minute."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Brikk needs Python 3.11 or newer; set PYTHON=..." or 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	@touch $@

.venv-protoc/.ready: locks/protoc.txt
	$(PYTHON) -m venv .venv-protoc
	.venv-protoc/bin/pip install --quiet --disable-pip-version-check --require-hashes -r locks/protoc.txt
	@touch $@

run: setup ## Start the suite, run a real workflow on real records, show what happened, stop
	$(BIN)/brikk demo

up: setup ## Keep the suite running on this machine until Ctrl-C
	$(BIN)/brikk up

# Half as many workers again as processors: a third of the time tests wait, for leases to end and processes to start.
test: setup .venv-protoc/.ready ## Run every test but the long chaos runs (minutes)
	$(BIN)/pytest -n $${BRIKK_TEST_WORKERS:-$$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 ))} --dist worksteal -m "not long"

chaos: setup ## Run the long chaos tests (about half an hour)
	$(BIN)/pytest -m long tests/chaos tests/e2e/test_metrics.py tests/integration/test_workflow_faults.py tests/integration/test_workflow_machine.py tests/integration/test_workflow_programs.py tests/integration/test_workflow_replicas.py

lint: setup ## Check style, import rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup ## Rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## Check types
	$(BIN)/mypy

protos: .venv-protoc/.ready ## Generate the stubs from the contracts
	.venv-protoc/bin/python protos/generate.py protos/gen

baseline: .venv-protoc/.ready ## Take today's contracts as the released ones that buf breaking compares with
	.venv-protoc/bin/python protos/generate.py --descriptors protos/baseline.binpb

schema: setup ## Generate what editors know of the workflow language
	$(BIN)/python -c 'import json; from brikk_workflow.domain.editor_schema import editor_schema; print(json.dumps(editor_schema(), indent=2))' > cli/brikk_cli/workflow.schema.json

dashboards: setup ## Make the dashboards for Grafana
	$(BIN)/python deploy/grafana/generate.py

locks: setup ## Resolve the dependencies again into locks/
	$(BIN)/python locks/compile.py

bench: setup ## Run the benchmarks (minutes)
	$(BIN)/python -m bench workflow

clean: ## Remove everything that was generated on this machine
	rm -rf .venv .venv-protoc .brikk .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
