# The daily commands. Each sets up .venv first if it is missing or out of date.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup doctor demo test test-fast coverage test-slurm test-python check format docs compare seeds lock fetch clean

BIN := .venv/bin
INSTALLED := .venv/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Containers set this, and then every process compiles every module it imports again.
export PYTHONDONTWRITEBYTECODE :=

# The user asks for a Python or PyTorch that .venv may not have.
ifneq ($(PYTHON)$(CPU),)
.PHONY: $(INSTALLED)
endif

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED) ## install the locked dependencies and this package into .venv (PYTHON=python3.13, CPU=1)

$(INSTALLED): requirements.lock
	@PYTHON="$(PYTHON)" CPU="$(CPU)" sh envs/setup.sh
	@touch $@

doctor: ## check this machine (packages, GPU, disk, network) and the configuration; report what is missing
	@# It also works before anything is installed.
	@PYTHONPATH=workflow "$$(command -v $(BIN)/python || sh envs/find_python.sh 2>/dev/null || echo python3)" -m bandbridge.ops.doctor $(if $(PRESET),--configfile $(PRESET)) $(if $(GPU),--gpu "$(GPU)")

demo: $(INSTALLED) ## run the embedded demo from download to report
	@echo "Running the demo: patch a small CLIP on a Sentinel-2 scene, align a 13-band student, evaluate, report."
	@# One thread per job: with other numbers of threads torch sums in another order, and the figures differ.
	@snakemake --quiet host reason --max-threads 1

test: $(INSTALLED) ## check the code and run all tests
	@echo "Checking the code and running the tests ..."
	@# Each process begins with half of the files in their order, so that it imports less and makes shared runs once.
	@faults=$$(mktemp); $(MAKE) --silent check > $$faults 2>&1 & checks=$$!; \
		pytest -q -n 2 --dist worksteal; tests=$$?; \
		wait $$checks; checks=$$?; ((checks)) && cat $$faults; rm $$faults; exit $$((checks | tests))

# The fast tests are two processes with about half of the work each. Under pytest-xdist each would import all that any
# test needs, torch, open_clip and scikit-learn among it, and collect 4,000 tests: a sixth of the time of all.
FAST := pytest -q -n 0 -m "not slow and not browser and not slurm and not gpu"
FAST_1 := $(patsubst %,tests/unit/%/,base catalogue ingest metrics ops project scoring)
FAST_2 := $(filter-out $(FAST_1),$(sort $(dir $(wildcard tests/unit/*/test_*.py)))) tests/workflow

test-fast: $(INSTALLED) ## two thirds of the tests, in a minute: no linters, no whole runs, no browser
	@output=$$(mktemp); $(FAST) $(FAST_1) > $$output 2>&1 & first=$$!; \
		$(FAST) $(FAST_2); second=$$?; wait $$first; first=$$?; cat $$output; rm $$output; exit $$((first | second))

coverage: $(INSTALLED) ## measure which lines of the package the unit tests run; the pages are in coverage/
	@pytest -q -n 2 --dist loadfile -m "not browser and not slurm and not gpu" --cov --cov-report=term:skip-covered \
		--cov-report=html tests/unit

test-slurm: $(INSTALLED) ## test the slurm profile on a cluster that is started for it (root on Debian)
	@echo "Starting a SLURM cluster on this machine, and testing on it ..."
	@python tests/slurm/cluster.py sh -c \
		'pytest -q -n 3 --dist worksteal -m "not alone" tests/slurm && pytest -q -m alone tests/slurm'

test-python: ## install the package for PYTHON in a temporary folder, and run the unit tests there
	@sh tests/other_python.sh $(PYTHON)

check: $(INSTALLED) ## linters, formatters and types, changing nothing
	@echo "Checking style, types and the workflow ..."
	@mypy --no-error-summary & types=$$!; \
		ruff check --quiet . && ruff format --quiet --check . && snakefmt --check Snakefile workflow/rules \
		&& { report=$$(lint-imports --no-logo) || { echo "$$report"; false; }; } && snakemake --lint; others=$$?; \
		wait $$types && exit $$others

format: $(INSTALLED) ## format the code and fix what the linters can fix
	@ruff check --quiet --fix .
	@ruff format --quiet .
	@snakefmt Snakefile workflow/rules

docs: $(INSTALLED) ## write docs/configuration.md and workflow/schemas, and build the documentation site in site/ (no network needed)
	@$(BIN)/python -m bandbridge.ops.schema_files
	@$(BIN)/python -m bandbridge.ops.config_reference > docs/configuration.md.part && mv docs/configuration.md.part docs/configuration.md
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict && echo "Documentation: site/index.html"

compare: $(INSTALLED) ## put finished runs side by side: make compare RUNS="demo seed-1"
	@runs="$(strip $(RUNS))"; snakemake --quiet host reason --config "compare=[$${runs// /, }]" -- compare

seeds: $(INSTALLED) ## run with several seeds, for mean and deviation: make seeds RUN=eurosat SEEDS="0 1 2" ARGS="--configfile workflow/presets/eurosat.yaml"
	@test -n "$(RUN)" -a -n "$(SEEDS)" || { echo 'Name the run and its seeds: make seeds RUN=eurosat SEEDS="0 1 2"' >&2; exit 2; }
	@seeds="$(strip $(SEEDS))"; snakemake $(ARGS) --config run=$(RUN) "seeds=[$${seeds// /, }]"

fetch: $(INSTALLED) ## download everything that needs a network, so that the rest runs offline
	@snakemake --quiet host reason -- fetch

lock: ## resolve the dependencies in pyproject.toml into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-annotate --no-header --quiet --output-file requirements.lock

clean: ## remove results, logs and stores; keep the downloads and .venv
	@echo "Removing results/*, logs/ and data/zarr/ ..."
	@find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	@rm -rf logs data/zarr .snakemake
