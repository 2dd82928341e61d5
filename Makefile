# make run        set everything up and run the main job: the quick study
# make test       set everything up and run the tests (minutes, no root)
# make test-all   the tests, the slow ones included
# make check      lint, format and types
# make soak       hundreds of short trainings, many killed at random: nothing may be lost (10 minutes; ARGS="--minutes 60")
# make dist       a wheel and an sdist in dist/
# Options for the main job: make run ARGS="--data photographs/ --epochs 3"
# LOCK=.ci/requirements.txt installs exactly those files, checked by hash (CPython 3.11, Linux, x86-64); without it the ranges of pyproject.toml hold

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
LOCK ?=
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(JOBS)
.DEFAULT_GOAL := run
.PHONY: run test test-all check soak dist clean

# The stamps are made again when what is to be installed changes. The install is editable: sources need no new one.
# pip comes last into a venv, so where it is missing the venv was broken off, and is made again.
$(VENV)/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tench needs Python 3.11 or newer; name one by make PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(if $(LOCK),$(PIP) --require-hashes --requirement $(LOCK))
	$(PIP) $(if $(LOCK),--no-deps --no-build-isolation) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(if $(LOCK),,$(PIP) --editable '.[dev]')
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

soak: $(VENV)/.installed-dev
	$(BIN)/python bench/soak.py $(ARGS)

dist: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build $(if $(LOCK),--no-isolation) --outdir dist

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
