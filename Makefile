# make demo   trains on scanned digits and judges a few
# make test   style, types and all tests
# make clean  removes the environment

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint fast clean

demo: $(VENV)/train
	$(BIN)/gannext demo

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

fast: $(VENV)/dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[train]'
	touch $@

$(VENV)/dev: $(VENV)/train
	$(BIN)/pip install --quiet -e '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV)
