# Everything happens in a virtual environment of the project's own; only Python and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test quick lint docs bench clean

demo: $(VENV)/.user
	$(BIN)/jaxinv demo

test: lint docs
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

quick: lint
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/milne_eddington.py
	$(BIN)/python benchmarks/inversion.py
	$(BIN)/python benchmarks/solvers.py

# A stamp is written last, so an environment that was left half-made is made anew.
$(VENV)/.user: pyproject.toml
	test -f $@ || test -f $(VENV)/.dev || (rm -rf $(VENV) && $(PYTHON) -m venv $(VENV))
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml
	test -f $@ || test -f $(VENV)/.user || (rm -rf $(VENV) && $(PYTHON) -m venv $(VENV))
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) site jaxinv-demo .pytest_cache .ruff_cache .hypothesis
