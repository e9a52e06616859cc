# The verbs of the project; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The stamps hold the digest of the lock they were made from, so a changed lock installs anew.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
ASSETS := static/vendor/.stamp

.PHONY: help setup up check test e2e bench lock format clean

help: ## List the verbs
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "IncidentOps needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt | $(RUNTIME)
	$(RUN) -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

$(ASSETS): package.json package-lock.json | $(RUNTIME)
	$(RUN) manage.py assets

setup: $(RUNTIME) $(ASSETS) ## Install what the product needs; start nothing

up: setup ## Start everything in the foreground; Ctrl-C stops it
	@exec $(RUN) manage.py up

check: setup $(DEV) ## Format, lint, types, imports, migrations, templates, scripts, schema
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(RUN) manage.py makemigrations --check --dry-run
	$(RUN) manage.py check --fail-level WARNING
	$(VENV)/bin/djade --target-version 5.2 --check $$(git ls-files 'templates/*.html')
	$(RUN) manage.py env_example --check
	$(RUN) manage.py openapi --check
	$(RUN) manage.py assets --check-types
	$(VENV)/bin/mypy

test: setup $(DEV) ## The full suite on every lane that is configured
	@echo "== Lane 1: SQLite and the embedded server"
	TEST_DATABASE_URL= TEST_REDIS_URL= $(RUN) -m pytest tests
	@if [ -n "$$TEST_DATABASE_URL" ] && [ -n "$$TEST_REDIS_URL" ]; then \
		echo "== Lane 2: PostgreSQL and Redis"; \
		$(RUN) -m pytest tests; \
	else \
		echo "== Lane 2 did not run: set TEST_DATABASE_URL and TEST_REDIS_URL for PostgreSQL and Redis"; \
	fi

e2e: setup $(DEV) ## Browser tests alone (installed Chromium)
	$(RUN) -m pytest tests/e2e

bench: setup $(DEV) ## Measure everything beside its baseline; JSON under var/bench
	$(RUN) -m tests.bench

lock: ## Renew the hash-locked requirements (needs uv)
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --custom-compile-command 'make lock' requirements.in -o requirements.txt
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --custom-compile-command 'make lock' requirements-dev.in -o requirements-dev.txt
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --custom-compile-command 'make lock' requirements-node.in -o requirements-node.txt

format: $(DEV) ## Format code and templates
	$(VENV)/bin/ruff format .
	$(VENV)/bin/djade --target-version 5.2 $$(git ls-files 'templates/*.html')

clean: ## Remove what make made; keeps var/
	rm -rf $(VENV) node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache
