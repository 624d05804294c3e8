# Two commands on a fresh machine (python3 >= 3.11, make, git, gcc): `make scan` and `make test`.
CONFIG ?= config/hms.yaml
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: scan test test-slow test-slurm calibrate bench chaos lint format lock clean

scan: $(VENV)/.scan
	$(BIN)/nnqft run $(CONFIG)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not slurm"

test-slow: $(VENV)/.test $(VENV)/.s3
	$(BIN)/python -m pytest -m "slow and not slurm"

# A SLURM of one node is started for it, as root; what is not installed is, with apt-get. Its parts wait more than they
# compute: four processes, each with a SLURM of its own.
test-slurm: $(VENV)/.slurm
	tests/slurm/install
	NNQFT_TEST_SLURM=1 $(BIN)/python -m pytest -n 4 --dist worksteal --timeout 900 -m slurm -rP tests/slurm

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

# The S3-compatible server of the tests of object stores: what it needs does not go with the rest. Without it they use
# a folder like one.
$(VENV)/.s3: requirements-s3.lock workflow/install $(VENV)/.test
	PYTHON=$(PYTHON) workflow/install $(VENV)/s3 requirements-s3.lock bare
	touch $@

# Snakemake's slurm executor: not with the rest, because every Snakemake would import it, for a second or two.
$(VENV)/.slurm: requirements-slurm.lock $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-slurm.lock
	touch $@

# New versions: needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade \
	  pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade \
	  --extra test -c requirements.lock pyproject.toml -o requirements-test.lock
	printf 'flask\nflask-cors\nmoto[s3]\n' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate --upgrade - -o requirements-s3.lock
	printf 'snakemake-executor-plugin-slurm\nsnakemake-executor-plugin-slurm-jobstep\n' | uv pip compile --no-deps --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade - -o requirements-slurm.lock

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache .hypothesis
