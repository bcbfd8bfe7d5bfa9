# `make` alone prints what there is. CPU=1 takes PyTorch's CPU wheels; PYTHON=python3.12 another Python.
PYTHON ?= python3
PY := .venv/bin/python
export PYTHONUNBUFFERED := 1

# a test run: one thread, the CPU kernel of this environment, stored outputs compared
TEST_ENV := OMP_NUM_THREADS=1 XAI_LESSONS_DEVICE=cpu
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
UNIT := --doctest-modules xai_lessons tests
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300

.DEFAULT_GOAL := help
.PHONY: help environment lab test test-all test-unit test-notebooks test-browser test-devices test-site test-gpu coverage oracles mutants lint notebooks site student benchmark lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment:
	@$(PYTHON) -m tools.environment $(if $(CPU),--cpu)

lab: environment  ## open lesson 1 in JupyterLab (prints the address, too)
	@$(PY) -m xai_lessons lab --here

test: environment  ## lint and all tests: unit, examples of docstrings, notebooks against their stored outputs, run in JupyterLab in Chromium
	@$(MAKE) --no-print-directory -j2 lint test-all

test-all: environment  ## the same without lint
	$(TEST_ENV) $(PY) -m pytest $(PARALLEL) $(UNIT)

test-unit: environment  ## the tests and examples that need neither notebooks nor a browser
	$(TEST_ENV) $(PY) -m pytest $(PARALLEL) --ignore tests/browser $(UNIT)

test-notebooks: environment  ## the notebooks against their stored outputs, by nbval, without a browser
	$(TEST_ENV) $(PY) -m pytest $(PARALLEL) $(NBVAL) notebooks

test-browser: environment  ## JupyterLab in Chromium
	$(TEST_ENV) $(PY) -m pytest tests/browser

test-devices: environment  ## methods, explorers and notebooks on a second device made of the CPU's memory
	@$(PY) -m tools.devices $(PARALLEL)

test-site: site  ## the built web book in Chromium: every player is dragged
	XAI_LESSONS_SITE=$(CURDIR)/build/site $(TEST_ENV) $(PY) -m pytest tests/browser/test_book.py

test-gpu: environment  ## the notebooks and every method on CUDA, against the CPU's answers
	@$(PY) -m tools.gpu

coverage: environment  ## the unit tests' coverage of the package (at least 98 %)
	$(TEST_ENV) $(PY) -m pytest $(PARALLEL) --ignore tests/browser --cov=xai_lessons --cov-config=pyproject.toml $(UNIT)

oracles: environment  ## every method against other libraries and slow loops: docs/oracles.md
	$(TEST_ENV) XAI_LESSONS_ORACLE_TABLE=docs/oracles.md $(PY) -m pytest tests/oracles

mutants: environment  ## 100 small mistakes in the methods: do the tests notice 90? docs/mutants.md (minutes)
	@$(PY) -m tools.mutants --workers $(WORKERS) --write

lint: environment  ## ruff (also on the notebooks) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m mypy

notebooks: environment  ## run the notebooks and store their outputs (NAMES="01 02": only these)
	@$(PY) -m tools.execute_notebooks $(NAMES)

site: environment  ## the web book in build/site, from the stored outputs; the frames of its players are computed (minutes)
	@$(PY) -m tools.book

student: environment  ## copies of the notebooks without solutions, in student/
	@$(PY) -m xai_lessons lab --student --copy-only --folder student

benchmark: environment  ## speed, accuracy, and peers side by side
	@$(PY) -m benchmarks

lock: environment  ## pyproject.toml -> requirements.lock, environment.yml, binder/environment.yml (UPGRADE=1: newest versions)
	@$(PY) -m tools.lock $(if $(UPGRADE),--upgrade)

clean:  ## remove the environment and what tools left
	rm -rf .venv build dist student .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
