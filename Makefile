# Research OS: the commands of the house. `make` alone lists them.
# Every package comes from a lock file with hashes, into .venv; nothing else is installed or changed.

PYTHON ?= python3
UV ?= uv

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check check-format check-lint check-types check-floors lock clean

# The caller's Python and pip settings must not lead an install past .venv.
unexport PYTHONHOME PYTHONPATH PIP_PREFIX PIP_ROOT PIP_TARGET
export PIP_USER := 0
export PIP_REQUIRE_VIRTUALENV := 0

IN_VENV := .venv/bin/python -m
INSTALL := $(IN_VENV) pip install -qq --disable-pip-version-check --no-input

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: .venv/ros.stamp ## from a clone to a replayed run: install what runs, then show it
	@PATH="$(CURDIR)/.venv/bin:$$PATH" sh docs/demo.sh

test: .venv/dev.stamp ## run the whole test suite (T=tests/some/folder for a part)
	@$(IN_VENV) pytest -q $(T)

check: check-format check-lint check-types check-floors ## format, lint, strict types, floor plan

check-format: .venv/dev.stamp
	@echo "format: ruff format"
	@$(IN_VENV) ruff format --quiet --check --output-format concise . || \
		{ echo "hint: .venv/bin/ruff format ." >&2; exit 1; }

check-lint: .venv/dev.stamp
	@echo "lint:   ruff check"
	@$(IN_VENV) ruff check --quiet .

check-types: .venv/dev.stamp
	@echo "types:  mypy --strict"
	@$(IN_VENV) mypy --no-error-summary

check-floors: .venv/dev.stamp
	@echo "floors: tests/test_architecture.py"
	@$(IN_VENV) pytest -q tests/test_architecture.py

lock: ## pin every dependency anew within the bounds of pyproject.toml (needs uv)
	@command -v "$(UV)" >/dev/null || { echo "error: make lock needs uv: pip install uv" >&2; exit 1; }
	@echo "pin: requirements.lock"
	@$(PIN) pyproject.toml -o requirements.lock
	@echo "pin: requirements-build.lock"
	@echo hatchling | $(PIN) - -o requirements-build.lock
	@echo "pin: requirements-dev.lock"
	@$(PIN) pyproject.toml --extra all --extra ray --extra dev \
		-c requirements.lock -c requirements-build.lock -o requirements-dev.lock
	@echo "pin: requirements-engines.lock"
	@$(PIN) pyproject.toml --group engines \
		-c requirements.lock -c requirements-dev.lock -o requirements-engines.lock
	@echo "pin: requirements-statistics.lock"
	@$(PIN) pyproject.toml --group statistics \
		-c requirements.lock -c requirements-dev.lock -o requirements-statistics.lock

# One version of each package for every Python and system, so that one lock asks one question;
# no address of an index, so that it installs from any.
PIN = $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

clean: ## remove .venv, .venv-engines, .venv-statistics, demo/, builds and caches (never .ros)
	@rm -rf .venv .venv-engines .venv-statistics demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find benchmarks cli research rosdb tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean"

# What they measure, and how, stands in docs/benchmarks.md. B takes options: make bench B="--scale 0.1".
# For bench-scale, N=6 is a million runs.
.PHONY: bench bench-api bench-scale bench-sweep bench-diff bench-engine bench-statistics
.PHONY: bench-programmes check-engines check-statistics

bench: .venv/ros.stamp ## measure the store beside its peers (bench-api, -scale, -sweep, -diff, -engine, -statistics, -programmes: the rest)
	@$(IN_VENV) benchmarks.store $(B)

bench-api: .venv/ros.stamp
	@$(IN_VENV) benchmarks.api $(B)

bench-scale: .venv/ros.stamp
	@$(IN_VENV) benchmarks.scale $(if $(N),--largest $(N)) $(B)

bench-sweep: .venv/dev.stamp
	@$(IN_VENV) benchmarks.sweep $(B)

bench-diff: .venv/dev.stamp
	@$(IN_VENV) benchmarks.diffs $(B)

# The other engines, in an environment of their own: compared trade by trade, and timed beside ours
# (docs/engines.md).
IN_ENGINES := .venv-engines/bin/python -m

check-engines: .venv-engines/engines.stamp
	@$(IN_ENGINES) pytest -q tests/engines

bench-engine: .venv-engines/engines.stamp
	@$(IN_ENGINES) benchmarks.engine $(B)

# The libraries that people take such figures from, likewise: our statistics beside theirs
# (docs/statistics.md). The benchmark needs none of them.
check-statistics: .venv-statistics/statistics.stamp
	@.venv-statistics/bin/python -m pytest -q tests/statistics

bench-statistics: .venv/ros.stamp
	@$(IN_VENV) benchmarks.luck $(B)

bench-programmes: .venv/ros.stamp
	@$(IN_VENV) benchmarks.programmes $(B)

# A stamp stands for a finished step. A changed lock of the run time begins a new .venv.
.venv/run.stamp: requirements.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON) is not Python 3.11 or newer; say: make PYTHON=python3.12 TARGET" >&2; exit 1; }
	@echo "venv: .venv"
	@$(PYTHON) -m venv --clear .venv
	@echo "pip:  requirements.lock"
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@touch $@

.venv/ros.stamp: .venv/run.stamp pyproject.toml
	@echo "pip:  research-os, editable"
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/ros.stamp requirements-dev.lock
	@echo "pip:  requirements-dev.lock"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# An environment of its own, of one lock: .venv-engines/engines.stamp from requirements-engines.lock.
define OWN_ENVIRONMENT
.venv-$(1)/$(1).stamp: requirements-$(1).lock
	@$$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $$(PYTHON) is not Python 3.11 or newer; say: make PYTHON=python3.12 TARGET" >&2; exit 1; }
	@echo "venv: .venv-$(1)"
	@$$(PYTHON) -m venv --clear .venv-$(1)
	@echo "pip:  requirements-$(1).lock"
	@.venv-$(1)/bin/python -m pip install -qq --disable-pip-version-check --no-input \
		--require-hashes -r requirements-$(1).lock
	@touch $$@
endef
$(eval $(call OWN_ENVIRONMENT,engines))
$(eval $(call OWN_ENVIRONMENT,statistics))
