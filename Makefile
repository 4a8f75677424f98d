# make          install if needed, run the workflow (tier of config.yaml), print the verdict table
# make help     the other targets
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
# everything that is run comes from the project's own environment
export PATH := $(CURDIR)/$(BIN):$(PATH)
# caches of packages, where HOME is missing or cannot be written
ifeq ($(shell test -w "$${XDG_CACHE_HOME:-$$HOME}" && echo yes),)
export XDG_CACHE_HOME := $(CURDIR)/.venv/cache
endif
STAMP := .venv/installed
TIER ?=
CORES ?= all
# further options of snakemake, e.g. make FLAGS="--keep-going"
FLAGS ?=
CHOICE := $(if $(TIER),--config tier=$(TIER))
SNAKEMAKE := snakemake --cores $(CORES) $(FLAGS)

.DEFAULT_GOAL := run
.PHONY: run install test test-slow figures lint smoke record page report release readme schema benchmark \
  long-run bring-back runs cost clean help

run: $(STAMP) ## run the workflow and print the verdicts (TIER=smoke|quick|long|paper, CORES=n)
	$(SNAKEMAKE) $(CHOICE)
	python -m gnnip verdicts $(if $(TIER),--tier $(TIER))

install: $(STAMP) ## make .venv with the pinned packages, once

# torch first and alone: of its builds pip takes the one that its configuration offers
$(STAMP): requirements.txt requirements-engines.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gnnip needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --progress-bar off --constraint requirements.txt torch
	$(BIN)/python -m pip install --quiet --progress-bar off --no-deps -r requirements.txt \
	  -r requirements-engines.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --progress-bar off --no-deps --editable .
	touch $@

test: $(STAMP) ## run the tests (15 to 20 minutes on 2 cores)
	pytest -n 2 --dist loadfile -q --durations 12 -m "not slow"

test-slow: $(STAMP) ## run those that take minutes or another program
	pytest -n 2 --dist loadfile -q -m slow

figures: $(STAMP) ## redraw every figure from results/recorded (no torch needed)
	$(SNAKEMAKE) figures

lint: $(STAMP) ## check style, types, workflow, schemas and README
	ruff check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint
	python -m gnnip schema --check
	python -m gnnip readme --check

smoke: $(STAMP) ## every rule and artefact on tiny inputs
	$(SNAKEMAKE) --config tier=smoke
	python -m gnnip verdicts --tier smoke

record: $(STAMP) ## copy the finished run (TIER=...) to results/recorded and results/kept, update the README
	$(SNAKEMAKE) $(CHOICE) --forcerun record_results -- record
	python -m gnnip tolerances
	python -m gnnip readme --update

page: $(STAMP) ## write the page of the recorded results: results/recorded/index.html (no torch needed)
	python -m gnnip page

report: $(STAMP) ## write report.zip: verdicts, figures, tables, runtimes, costs
	$(SNAKEMAKE) $(CHOICE) --report report.zip

release: $(STAMP) ## write dist/gnnip-<version>.zip: code, recorded results and data, with checksums and an RO-Crate
	python -m gnnip readme --check
	python -m gnnip fresh --first-seed
	python -m gnnip release

readme: $(STAMP) ## put the recorded verdicts, at other tolerances too, into README and docs, and the recorded outputs into codecheck.yml
	python -m gnnip tolerances
	python -m gnnip readme --update

schema: $(STAMP) ## write the JSON schemas of config.yaml, runs.yaml and the cards, and docs/kinds.md
	python -m gnnip schema

benchmark: $(STAMP) ## measure speed against the alternatives, side by side
	for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

cost: $(STAMP) ## what the cards take, from recorded runs: core-hours, disk (TIER=..., nothing is run)
	python -m gnnip cost $(if $(TIER),--tier $(TIER))

runs: $(STAMP) ## list the long runs of runs.yaml, their state and their core-hours
	python -m gnnip runs

long-run: $(STAMP) ## work off runs.yaml in clones beside the project, behind all other work (CORES=n)
	python -m gnnip long-run $(if $(filter-out all,$(CORES)),--cores $(CORES))

bring-back: $(STAMP) ## copy what finished long runs made into the project (RUN=name REPLACE=1)
	python -m gnnip bring-back $(RUN) $(if $(REPLACE),--replace)

clean: ## remove results of smoke and quick, redrawn figures, logs and caches (all other results stay)
	rm -rf results/smoke results/quick results/figures logs report.zip
	rm -rf .pytest_cache .mypy_cache .ruff_cache

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18
