# make demo: the main job on the embedded model and speech.   make test: the test suite.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Files of tests that run at a time, one thread each.
JOBS   ?= 2
# Threads that spin while they wait cost dearly on a machine with other work to do.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint bench clean

demo: $(READY)
	$(BIN)/stablequant quantize examples/moonshine-tiny --data examples/asterisk --workers 2 --out demo-out

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python bench/methods.py

# torch first and alone: left to choose, pip would fetch a build with several gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-out
