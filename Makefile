# Every target makes its own virtual environment and needs no earlier command.
VENV ?= .venv
# The first interpreter that is new enough; say PYTHON=... to choose another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$python && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test faults lint docs clean

demo: $(VENV)/.installed
	$(BIN)/deepfake-jax demo --out demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2

# The long run of tests/faults: so many times the tries of the short one; hours.
# SEED repeats a day's, JOBS names commands by commas, as in tests/faults/jobs.py.
SCALE ?= 30
faults: $(VENV)/.installed-dev
	FAULTS_SCALE=$(SCALE) FAULTS_SEED=$(SEED) FAULTS_JOBS="$(JOBS)" \
		$(BIN)/python -m pytest -s tests/faults

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The guide, to be read offline: build/docs/index.html. Its search needs a server, as
# `python -m http.server -d build/docs`: browsers forbid it to files, and Zensical's way
# around that loads a script from elsewhere. `python docs/drawings.py` draws its pictures.
docs: $(VENV)/.installed-docs
	rm -rf build/docs build/options
	$(BIN)/python docs/options.py build/options
	$(BIN)/zensical build --strict

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found;" \
		"install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "the venv module is needed: on Debian and" \
		"Ubuntu, apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[docs]'
	touch $@
