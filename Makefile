# make demo | test | check | bench. Everything is installed into $(VENV); nothing outside this folder is touched.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
BIN := $(VENV)/bin
PARALLEL := -n 2 --dist loadfile

.PHONY: demo test check bench clean

$(VENV)/ready: requirements.txt pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'p2plib needs Python 3.11 or later: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt $(addprefix -c ,$(CONSTRAINTS))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

# About three minutes of training on 2 cores; the last line says where the results are.
demo: $(VENV)/ready
	$(BIN)/python -m p2plib train --data toy --image-size 128 --base-filters 32 --batch-size 4 \
	  --epochs 14 --decay-epochs 6 --sample-every 2 --time-budget 3m

# Everything on TensorFlow; what touches Keras once more on JAX.
test: $(VENV)/ready
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PARALLEL)
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m keras

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/ready
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf $(VENV) build dist *.egg-info
