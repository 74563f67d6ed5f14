# Everything starts here: `make view` and `make test` do all the set-up themselves.

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
SCENE ?= assets/chair.knf
NATIVE := pyproject.toml CMakeLists.txt $(shell find kernels/cpu kernels/native model_io -name '*.cpp' -o -name '*.h' -o -name '*.def' -o -name '*.txt')
# Python files are used in place; only the C++ extension and the dependencies need installing.
CPP = git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs $(VENV)/bin/clang-format
VIEW_INSTALLED := $(VENV)/.installed-view
DEV_INSTALLED := $(VENV)/.installed-dev
# For one test that compiles with it. Not in $(VENV): with a CuPy there the program would try a GPU first in every test.
CUPY := build/cupy
# Where this is set, each program that a test starts would compile all of its modules anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help view test test-all bench performance format clean
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

view: $(VIEW_INSTALLED)  ## open the chair in a window; with no display: out/view.png and out/view.mp4 from a virtual screen
	@scripts/view.sh $(VENV)/bin/kilonerf-view $(SCENE)

test: $(DEV_INSTALLED)  ## set up everything, then ruff, clang-format, pyright and pytest
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(CPP) --dry-run -Werror
	@$(VENV)/bin/pyright --threads 2
	@$(VENV)/bin/pytest -n 2 --dist loadfile --reruns 1 -m "not slow"

test-all: $(DEV_INSTALLED) $(CUPY)  ## every test, also the slow ones
	@$(VENV)/bin/pytest -n 2 --dist loadfile

bench: $(VIEW_INSTALLED)  ## time the renderer on the chair at 800x800
	@$(VENV)/bin/kilonerf-bench $(SCENE) --size 800x800

performance: $(DEV_INSTALLED)  ## measure the CPU renderer on this machine and refresh docs/performance.md (some minutes)
	@$(VENV)/bin/python -m benchmarks.performance

format: $(DEV_INSTALLED)  ## tidy the source
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format
	@$(CPP) -i

clean:  ## remove everything that was built or installed here
	rm -rf $(VENV) build dist out .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@scripts/system_packages.sh view
	@python=$$(scripts/find_python.sh --complete) && echo "making $(VENV) with $$python" && \
		{ "$$python" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }

$(VIEW_INSTALLED): $(NATIVE) | $(VENV)/bin/python
	@scripts/system_packages.sh view
	@echo "installing kilonerf-view into $(VENV) (a minute or two the first time)"
	@$(PIP) install --editable .
	@touch $@

# cuda-pathfinder, which CuPy needs too, came with the test tools. Where there is no CuPy the test skips.
$(CUPY): | $(DEV_INSTALLED)
	@echo "fetching CuPy for its test (130 MB)"
	@rm -rf $@.part && mkdir -p $@.part
	@$(PIP) install --no-deps --only-binary=:all: --target $@.part 'cupy-cuda13x==14.*' 'nvidia-cuda-nvrtc==13.*' \
		'nvidia-cuda-runtime==13.*' && mv $@.part $@ || echo "no CuPy here: its test skips"

$(DEV_INSTALLED): $(NATIVE) | $(VENV)/bin/python
	@scripts/system_packages.sh test
	@echo "installing kilonerf-view and the test tools into $(VENV) (some minutes the first time)"
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VIEW_INSTALLED)
