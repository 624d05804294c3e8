# Two commands on a fresh machine (python3 >= 3.11, make, git, gcc): `make scan` and `make test`.
CONFIG ?= config/hms.yaml
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: scan test test-slow calibrate bench chaos lint format lock clean

scan: $(VENV)/.scan
	$(BIN)/nnqft run $(CONFIG)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

# Error bars against their own scatter, nine minutes of processor time; and speed as paired ratios. JSON in results/bench/.
calibrate: $(VENV)/.test
	$(BIN)/python benchmarks/calibrate.py

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run.py

# Faults of processes, files, space, memory and clocks (tests/chaos): a table, and JSON in results/bench/. CHAOS="--only kills --kills 50" does a part.
chaos: $(VENV)/.test
	PYTHONPATH=$(CURDIR)/tests:$$PYTHONPATH $(BIN)/python -m chaos $(CHAOS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

# The environment is made from hash-locked requirements; pip is enough, uv is used where it is installed.
$(VENV)/.scan: requirements.lock pyproject.toml workflow/install
	PYTHON=$(PYTHON) workflow/install $(VENV) requirements.lock
	touch $@

$(VENV)/.test: requirements-test.lock pyproject.toml workflow/install
	PYTHON=$(PYTHON) workflow/install $(VENV) requirements-test.lock
	touch $(VENV)/.scan $@

# New versions: needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade \
	  pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade \
	  --extra test -c requirements.lock pyproject.toml -o requirements-test.lock

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache .hypothesis
