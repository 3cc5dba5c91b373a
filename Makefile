# make serve   install, build and serve the shipped model
# make test    install and run every test
# Both make their own virtual environment; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
ENGINE ?= native
COHORT ?= ../shared/data/nhanes_development.parquet
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --config-settings editable_mode=strict
# A strict editable install links file by file: a new file needs a new install.
SOURCES := $(shell find api cli export handler intake model scoring training -name '*.py') \
	model/weights/* training/configs/* training/evaluation/report/templates/*

NPM := $(shell command -v npm)

# Tests start hundreds of processes: without a cache of bytecode each compiles every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install serve stop test test-fast test-slow check lint typecheck train weights evaluate export archive figure bench bench-serve soak bench-score bench-row gpu clean contract dist docs docs-links fuzz web web-file

install: $(VENV)/.serve ## what serving needs

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt $(SOURCES) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[serve]'
	touch $@

$(VENV)/.torchserve: pyproject.toml constraints.txt $(SOURCES) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[torchserve]'
	touch $@ $(VENV)/.serve

$(VENV)/.dev: pyproject.toml constraints.txt $(SOURCES) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.serve $(VENV)/.torchserve

serve: $(if $(filter torchserve,$(ENGINE)),model_store/henaw.mar,install) ## serve the shipped model, print a request; ENGINE=torchserve takes TorchServe
	$(BIN)/henaw serve --engine $(ENGINE)

stop: install ## stop that server, and only it
	$(BIN)/henaw stop

archive: model_store/henaw.mar ## model_store/henaw.mar from the shipped checkpoint

model_store/henaw.mar: $(VENV)/.torchserve serve_config/model-config.yaml
	$(BIN)/henaw archive

# What the JavaScript examples and their tests need; the page needs only a part of it.
node_modules/.dev: package.json package-lock.json .npmrc
	npm ci
	touch $@ node_modules/.web

node_modules/.web: package.json package-lock.json .npmrc
	npm ci --omit=dev --omit=optional
	touch $@

web: export node_modules/.web ## the page into build/web, and serve it on loopback
	$(BIN)/python examples/browser/assemble.py build/exported build/web
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/web 8000

web-file: export node_modules/.dev ## the page in one file, which opens from the disk
	$(BIN)/python examples/browser/assemble.py build/exported build/web
	node examples/browser/bundle.mjs build/web build/henaw.html

test: $(VENV)/.dev $(if $(NPM),node_modules/.dev) ## tests, doctests included, but for the slow ones
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not alone and not slow' --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m 'alone and not slow'

test-fast: $(VENV)/.dev ## what needs no server, browser or fit
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not alone and not slow and not lengthy' --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev ## the few tests that take minutes: whole fits of real people, a rehearsal of make gpu
	$(BIN)/pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: $(VENV)/.dev
	$(BIN)/mypy

check: lint typecheck test

train: $(VENV)/.dev ## fit the shipped checkpoint on COHORT
	$(BIN)/henaw train --config training/configs/nhanes.yaml --cohort $(COHORT)

export: $(VENV)/.torchserve ## TorchScript, ONNX and their proof into build/exported
	$(BIN)/henaw export model/weights/henaw-nhanes.safetensors --out build/exported

weights: $(VENV)/.dev ## the ONNX file, sidecar and golden people that ship, from the shipped checkpoint
	$(BIN)/henaw export model/weights/henaw-nhanes.safetensors --out build/shipped
	cp build/shipped/henaw.onnx build/shipped/henaw.json build/shipped/golden.json model/weights/

dist: $(VENV)/.dev ## both distributions, checked, and their bills of materials, into build/dist
	$(BIN)/python release/build.py build/dist

evaluate: $(VENV)/.dev ## a report of the shipped checkpoint on COHORT
	$(BIN)/henaw evaluate model/weights/henaw-nhanes.safetensors --cohort $(COHORT) \
		--out build/evaluation

contract: install ## docs/openapi.json and docs/request.schema.json from the handler's types
	$(BIN)/henaw contract --out docs

$(VENV)/.docs: $(VENV)/.dev
	$(PIP_INSTALL) --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs ## the site, into build/docs; a warning, a broken link or a failing cell is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs build/docs

docs-links: $(VENV)/.docs ## check the site's links to other sites; needs a network
	$(BIN)/sphinx-build --builder linkcheck docs build/links

fuzz: $(VENV)/.dev ## 10 000 requests, allowed and forbidden by the contract, against a real server
	HENAW_FUZZ_REQUESTS=10000 $(BIN)/pytest tests/serving/test_fuzz.py

figure: $(VENV)/.dev ## the README's figure
	$(BIN)/python docs/drawings.py docs/contributions.svg

bench: $(VENV)/.dev ## hyperparameters compared by cross-validation on COHORT
	$(BIN)/python benchmarks/compare_hyperparameters.py $(COHORT)

bench-serve: $(VENV)/.dev ## the server beside FastAPI, by wrk, into build/bench-serve
	$(BIN)/python benchmarks/serve

soak: $(VENV)/.dev ## 30 minutes of mixed traffic at 70 % load; MINUTES changes that
	$(BIN)/python benchmarks/serve/soak.py --minutes $(or $(MINUTES),30)

bench-score: $(VENV)/.dev ## how fast people are scored
	$(BIN)/python benchmarks/score_people.py

bench-row: $(VENV)/.dev export ## one person by ONNX Runtime, against a small perceptron
	$(BIN)/python benchmarks/run_one_row.py build/exported

gpu: $(VENV)/.dev ## every GPU test and benchmark, and one report of them, into build/gpu
	$(BIN)/python benchmarks/gpu

clean: ## everything made here, the environment included
	rm -rf $(VENV) node_modules build model_store run .pytest_cache .mypy_cache .ruff_cache .hypothesis
