# What a person with a fresh clone types. The work itself is in scripts/ and tests/.
#   make demo    install, fetch a small real model, train it, ask it who it is, before and after
#   make test    install what is missing and run the whole suite (this is what CI runs)
#   make check   format, lint, types, import contracts and the fast tests: about a minute
#   make format  let ruff put the code into shape
#   make clean   remove .venv, models/ and the tools' caches; saves/ and your data stay

SHELL  := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
            if $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
BIN    := .venv/bin
# More words for pip, for instance: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt $(PIP_ARGS)
# bitsandbytes and hqq are imported by peft and transformers at every start where they can be, which costs seconds:
# they stay out of .venv, and the tests that train with them are a call of their own. apollo-torch and galore-torch
# name bitsandbytes as a need, for parts that are not used here: they come without what they name.
PYTEST := LLAMA_FACTORY_REQUIRE_MODEL=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help demo test check format clean
help:
	@sed -n 's/^#   //p' Makefile

demo: .venv/.installed
	@$(BIN)/python scripts/demo.py

test: .venv/.installed-dev
	@$(BIN)/python scripts/fetch_model.py
	@$(BIN)/python scripts/fetch_templates.py
	@$(BIN)/python scripts/fetch_quantisers.py
	@$(PYTEST) --ignore=tests/quantised
	@PYTHONPATH=$$($(BIN)/python scripts/fetch_quantisers.py --where) $(PYTEST) tests/quantised

check: .venv/.installed-dev
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not faults and not parity and not real"

format: .venv/.installed-dev
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean:
	rm -rf .venv models build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later with its venv module is needed, and none was found."; \
	  echo "Install it (Debian: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python"; exit 4; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

# torch goes first: it is the largest, and it brings the setuptools that builds this package without isolation.
.venv/.installed: .venv/bin/python pyproject.toml setup.py requirements/constraints.txt
	@echo "Installing the pinned set into .venv (the first time this takes a few minutes)"
	@$(PIP) torch==2.13.0
	@$(PIP) --no-build-isolation -e ".[torch,metrics,gguf]"
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing the tools of the developers into .venv"
	@$(PIP) --no-build-isolation -e ".[torch,metrics,gguf,dev]"
	@$(PIP) --no-deps apollo-torch galore-torch
	@touch $@
