# make book and make test need nothing but Python >= 3.11 and make: they set up .venv on first use.
PYTHON ?= python3
PROFILE ?= digits
DEVICE ?= cpu
# notebooks executed at a time, each with its share of the cores; on a GPU rather JOBS=1
JOBS ?= 2
THREADS = $(shell $(PYTHON) -c 'import os; print(max(1, (os.cpu_count() or 1) // $(JOBS)))')
VENV := .venv
BIN := $(VENV)/bin
# what the book needs, and what the tests need beside it
READY := $(VENV)/.ready
TESTS_READY := $(VENV)/.ready-tests
# modules are compiled when they are first imported: to compile all of them takes longer than the rest of the installation
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# or each of some hundred processes compiles PyTorch again
unexport PYTHONDONTWRITEBYTECODE
RUN_PYTEST := $(BIN)/python -m pytest -p no:cacheprovider

.PHONY: book pdf neurolibre test install lint weights notebooks bench clean help

help:
	@echo "make book       execute the paper's chapters and what has changed, and build the book (PROFILE=digits; ALL=1: execute every chapter)"
	@echo "make test       lint, unit tests, and the same chapters executed again and compared with their stored outputs (ALL=1: every test and chapter)"
	@echo "make pdf        the whole book as one PDF, printed by Chromium, after make book"
	@echo "make neurolibre what NeuroLibre builds from, in _build/neurolibre, after make book"
	@echo "make install    set up .venv, and nothing else"
	@echo "make notebooks  execute the notebooks and store their outputs as the new reference"
	@echo "make bench      time the search against the published procedure (DEVICE=cpu) and store what the book shows"
	@echo "make weights    train the models of a profile again (PROFILE=digits; PROFILE=vlm: about an hour a model)"
	@echo "make lint       ruff"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 2; }
	@echo "== setting up $(VENV) (PyTorch is large: a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e ".[book]"
	@touch $@

$(TESTS_READY): $(READY)
	@echo "== adding what the tests need to $(VENV)"
	@$(INSTALL) -e ".[book,test]"
	@touch $@

book: $(READY)
	@echo "== executing the notebooks of profile $(PROFILE)"
	@$(BIN)/neuronpath run --profile $(PROFILE) --jobs $(JOBS) $(if $(ALL),,--stale)
	@echo "== building the book"
	@$(BIN)/python book/build.py --profile $(PROFILE)

pdf: $(READY)
	@$(BIN)/python book/print_book.py --html _build/$(PROFILE)/html --pdf _build/$(PROFILE)/neuron-paths.pdf

neurolibre: $(READY)
	@$(BIN)/python book/neurolibre.py --source _build/$(PROFILE)/source --out _build/neurolibre

test: lint
	@echo "== unit tests"
	@OMP_NUM_THREADS=1 $(RUN_PYTEST) -q -n 2 --dist loadgroup --no-loadscope-reorder $(if $(ALL),,-m 'not thorough') tests
	@echo "== executing notebooks and comparing them with their stored outputs (minutes)"
	@results=$$(mktemp -d) && trap 'rm -rf "$$results"' EXIT && \
		NEURONPATH_RESULTS="$$results" NEURONPATH_WAIT=1 OMP_NUM_THREADS=$(THREADS) $(RUN_PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		-v --nbval --nbval-current-env --nbval-cell-timeout 1800 $(if $(ALL),--every-notebook) --durations 10 notebooks
	@echo "== all checks passed; what they compare with is in notebooks/ and tests/"

install: $(TESTS_READY)
	@echo "the command is $(BIN)/neuronpath"

lint: $(TESTS_READY)
	@echo "== lint"
	@$(BIN)/ruff check .

notebooks: $(READY)
	@$(BIN)/neuronpath run --store

bench: $(READY)
	@$(INSTALL) -e ".[bench]"
	@echo "== timing (minutes; nothing else should run meanwhile)"
	@$(BIN)/python -m benchmarks --device $(DEVICE)

weights: $(READY)
	@echo "== training the models of profile $(PROFILE)"
	@$(BIN)/python data/weights/$(if $(filter vlm%,$(PROFILE)),train_vlm,train).py --profile $(PROFILE)

clean:
	rm -rf _build results
