# make run        set everything up and run the main job: the quick study
# make test       set everything up and run the tests (minutes, no root)
# make test-all   the tests, the slow ones included
# make check      lint, format and types
# make dist       a wheel and an sdist in dist/
# Options for the main job: make run ARGS="--data photographs/ --epochs 3"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(JOBS)
.DEFAULT_GOAL := run
.PHONY: run test test-all check dist clean

# The stamps are made again when what is to be installed changes. The install is editable: sources need no new one.
# pip comes last into a venv, so where it is missing the venv was broken off, and is made again.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tench needs Python 3.11 or newer; name one by make PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

run: $(VENV)/.installed
	$(BIN)/tench study --quick $(ARGS)

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow" $(ARGS)

# The report is driven in Debian's Chromium, which apt installs where there is none; the tests that need it are skipped, and say so, without.
test-all: $(VENV)/.installed-dev
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y --no-install-recommends chromium; } \
		|| echo "There is no Chromium, and no root to install it: the browser's tests will be skipped. As root: apt-get install chromium"
	$(PYTEST) --durations=10 $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
