# The appliance, without a container and as one. `make` lists what there is; `.ci/run` is what CI runs.

.DEFAULT_GOAL := help
# make parity N=5000 SEED=1
N := 300

.PHONY: help demo up down test test-all test-oldest test-kills test-mixture test-attacks parity check format bench image test-image lock clean linux

IMAGE := appliance
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install

help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run the example my_data_pipeline on a private appliance, show the outcome, stop
	@$(BIN)/appliance demo

up: $(READY) ## Start the appliance here, in the foreground, with the DAGs of ./dags
	@exec $(BIN)/appliance up

down: $(READY) ## Stop it; its runs go on at the next start
	@$(BIN)/appliance down

# Two processes, a file at a time: what a file shares (a running appliance) is started once.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder --durations=10
test: $(DEV) ## Run tests of every kind, in at most 8 minutes on 2 cores
	$(BIN)/pytest $(BESIDE) -m "not needs_image and not long"

test-all: $(DEV) ## Run the tests that `make test` leaves out, but those of the image
	$(BIN)/pytest $(BESIDE) -m "long and not needs_image"

# What depends on the Python version is tested with the oldest one, too; CI does both.
OLDEST := python3.11
test-oldest: ## Run the tests of children and DAG files with Python 3.11
	$(MAKE) VENV=.venv-oldest PYTHON=$(OLDEST) .venv-oldest/.dev
	.venv-oldest/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
	.venv-oldest/bin/pytest $(BESIDE) tests/forkserver tests/taskrun tests/dagfile tests/examples

parity: $(DEV) ## Compare N random DAGs with Airflow's own scheduler; SEED repeats what it printed
	$(BIN)/python -m tests.parity $(N) $(SEED)

check: $(DEV) ## Check format, style, types and the layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture_map --check

format: $(DEV) ## Format, and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/python -m tests.architecture_map

LIVES := 20
test-kills: $(DEV) ## Kill any part of a box at random, over LIVES=20, and check what became of every try
	$(BIN)/python -m tests.faults.killing $(LIVES)

MIXTURE := 3
test-mixture: $(DEV) ## The same every 5 s, over MIXTURE=3 lives, with pools, a schedule and deferrals
	$(BIN)/python -m tests.faults.mixture $(MIXTURE)

ATTACKS := 5000
test-attacks: $(DEV) ## Send a box ATTACKS=5000 crafted inputs, by every way there is
	ATTACKS=$(ATTACKS) $(BIN)/pytest tests/attacks

bench: $(DEV) ## Measure, against bare Temporal and Airflow where they compare; prints a table
	$(BIN)/python -m tests.bench
	@if docker image inspect appliance >/dev/null 2>&1; then $(BIN)/python -m tests.bench --image; \
	 else echo "The image is not measured: make image first." >&2; fi

image: ## Build the container image
	docker build -t $(IMAGE) .

test-image: $(DEV) ## Test the container image that was built last
	TESTED_IMAGE=$(IMAGE) $(BIN)/pytest -m needs_image tests/image

lock: ## Pin all packages anew (needs uv)
	$(call pin,requirements.lock,)
	$(call pin,requirements-dev.lock,--group dev -c requirements.lock)

clean: ## Remove the environment and the caches; .appliance, the data, stays
	rm -rf $(VENV) .venv-oldest build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

linux:
	@test "$$(uname -s)" = Linux || { \
	  echo "The appliance runs natively on Linux only, and this is $$(uname -s):" \
	       "use the container image, see README.md." >&2; exit 2; }

# A package is named only in the locks, so pip has nothing to resolve; it byte-compiles
# on one core, compileall on all. From Python 3.12 tasks cost less memory and time.
$(READY): requirements.lock pyproject.toml Makefile | linux
	@python=; for name in $(PYTHON) python3.13 "$$HOME"/.pyenv/versions/3.13.*/bin/python \
	    python3.12 "$$HOME"/.pyenv/versions/3.12.*/bin/python python3 python3.11; do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.11, 3.12 or 3.13 with its venv module was found (on Debian and Ubuntu:" \
	       "apt install python3-venv). Name one with PYTHON=..." >&2; exit 2; fi; \
	echo "Making the environment in $(VENV) with $$("$$python" --version), about a minute ..." >&2; \
	"$$python" -m venv --clear $(VENV)
	@$(PIP) --no-deps --no-compile --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	@touch $@

$(DEV): requirements-dev.lock $(READY)
	@$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

define pin
uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header --quiet \
  --extra postgres --group build $(2) --output-file $(1)
endef
