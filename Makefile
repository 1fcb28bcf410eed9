# make demo | test | check | docs | kernel | notebooks | notebooks-bare | bench | lock. Everything is installed into $(VENV),
# except for Chromium, a browser that the tests use: on Debian, and as root, `make test` installs it.
PYTHON ?= python3
VENV ?= .venv
# What is installed: the tested versions with their hashes, or, on a Python they were not made for, the newest within
# the ranges. On Kaggle's versions: make test VENV=.venv-kaggle LOCK=requirements-kaggle.lock PYTHON=python3.12
LOCK ?= $(shell $(PYTHON) -c "import sys; print('requirements.' + ('lock' if sys.version_info < (3, 14) else 'txt'))")
# Kaggle's lock builds no documentation; the ranges of requirements.txt do, with those beside it.
DOCS = $(if $(filter %.txt,$(LOCK)),-r requirements-docs.txt)
HOW = $(if $(filter %.txt,$(LOCK)),--upgrade --upgrade-strategy eager,--require-hashes --only-binary :all:)
BIN := $(VENV)/bin
SELECT ?= once or not once
TESTS ?= tests
NOTEBOOKS ?= notebooks
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-tensorflow test-jax test-notebooks test-newest check docs kernel notebooks notebooks-bare bench lock clean chromium
.NOTPARALLEL:

$(VENV)/ready: $(LOCK) pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'p2plib needs Python 3.11 or later: make PYTHON=python3.12')"
	@echo "Installing into $(VENV) from $(LOCK)$(if $(filter %.txt,$(LOCK)), (the newest within its ranges)): 0.8 GB to download, some minutes."
	$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/installed # pip's own exit status is lost behind the pipe
	@{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(HOW) -r $(LOCK) $(DOCS) \
	  && touch $(VENV)/installed; } \
	  | grep --line-buffered -oE '(Downloading|Using cached) .* MB\)|^Installing collected packages'; test -e $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

# Three minutes of training; the last line says where the results are.
demo: $(VENV)/ready
	$(BIN)/python -m p2plib train --data toy --recipe maps --image-size 128 --base-filters 32 --train-time 3m --sample-every 2

# Everything on TensorFlow; what touches Keras once more on JAX; then the notebooks against their stored outputs.
test: test-tensorflow test-jax test-notebooks

test-tensorflow: $(VENV)/ready chromium
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PARALLEL) -m "$(SELECT)" $(TESTS)

test-jax: $(VENV)/ready
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m "keras and ($(SELECT))" $(TESTS)

test-notebooks: $(VENV)/ready
	runs=$$(mktemp -d) && trap 'rm -rf "$$runs"' EXIT && P2PLIB_RUNS=$$runs KERAS_BACKEND=tensorflow \
	  TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest $(PARALLEL) --nbval --nbval-current-env \
	  --nbval-cell-timeout=600 --nbval-sanitize-with=tests/sanitize.cfg $(NOTEBOOKS)

# The same tests on the newest versions that the ranges admit: do they still pass, before the lock is updated?
NEWEST := test
test-newest:
	rm -f .venv-newest/ready
	$(MAKE) $(NEWEST) VENV=.venv-newest LOCK=requirements.txt

chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	|| echo "Chromium is not here and could not be installed: the tests that need a browser are skipped."

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in site/: site/index.html opens without a server. Warnings are errors.
docs: $(VENV)/ready
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The self-contained notebook for Kaggle: make kernel TRAIN="--data maps"
kernel: $(VENV)/ready
	$(BIN)/python -m p2plib kaggle build $(TRAIN)

# Execute the notebooks anew from their .py halves.
notebooks: $(VENV)/ready
	$(BIN)/python tools/build_notebooks.py

# The notebooks where p2plib is missing, as on Kaggle and in Colab: the first cell of each must install it.
notebooks-bare: $(VENV)/ready
	$(BIN)/python tools/bare_notebooks.py $(NOTEBOOKS)

bench: $(VENV)/ready
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/photos.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/serving.py

# Write the locks from requirements.txt and requirements-docs.txt. What is locked and still fits stays; UPGRADE=1 takes the newest of everything.
# Update the lock in a commit of its own, after `make test-newest`.
UV := .venv-lock/bin/uv pip compile --quiet --generate-hashes --only-binary :all: --annotation-style line \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	$(UV) --universal --python-version 3.11 requirements.txt requirements-docs.txt -o requirements.lock
	$(UV) --python-platform linux --python-version 3.12 requirements.txt -c requirements-kaggle.txt -o requirements-kaggle.lock

clean:
	rm -rf $(VENV) build dist site *.egg-info
