PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint bench soak docs clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/coordexp-metrics demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/coordexp-metrics generate --check
	$(BIN)/coordexp-metrics check --strict
	$(BIN)/coordexp-metrics lint coordexp_metrics benchmarks examples
	$(BIN)/coordexp-metrics diff schemas/released/catalogue.v1.json --if-kept

bench: $(STAMP)
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --timeout 3600

docs: $(STAMP)
	$(BIN)/coordexp-metrics generate

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache runs
