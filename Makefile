# make demo | test | check | kernel | notebooks | bench. Everything is installed into $(VENV), except
# for Chromium, a browser that the tests use: on Debian, and as root, `make test` installs it.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
BIN := $(VENV)/bin
SELECT ?= once or not once
NOTEBOOKS ?= notebooks
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check kernel notebooks bench clean chromium

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

# Everything on TensorFlow; what touches Keras once more on JAX; then the notebooks against their stored outputs.
test: $(VENV)/ready chromium
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PARALLEL) -m "$(SELECT)"
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m "keras and ($(SELECT))"
	runs=$$(mktemp -d) && trap 'rm -rf "$$runs"' EXIT && P2PLIB_RUNS=$$runs KERAS_BACKEND=tensorflow \
	  TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest $(PARALLEL) --nbval --nbval-current-env \
	  --nbval-cell-timeout=600 --nbval-sanitize-with=tests/sanitize.cfg $(NOTEBOOKS)

chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	|| echo "Chromium is not here and could not be installed: the tests that need a browser are skipped."

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The self-contained notebook for Kaggle: make kernel TRAIN="--data maps --batch-size 8"
kernel: $(VENV)/ready
	$(BIN)/python -m p2plib kaggle build $(TRAIN)

# Execute the notebooks anew from their .py halves.
notebooks: $(VENV)/ready
	$(BIN)/python tools/build_notebooks.py

bench: $(VENV)/ready
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/photos.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/serving.py

clean:
	rm -rf $(VENV) build dist *.egg-info
