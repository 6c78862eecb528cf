# make demo   the whole job on bundled rollouts, offline, with a tiny model trained at the end
# make test   every test
# make check  lint, types, import layers
# The virtual environment is built once; touching pyproject.toml or constraints.txt renews it.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: demo test check setup clean

demo: $(STAMP)
	$(BIN)/dca demo --train

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DCA needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[train,postgres,verify]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) dca-demo .pytest_cache .ruff_cache .hypothesis .coverage*
