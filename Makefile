# Two commands set everything up: `make demo` and `make test`. Each makes its own environment.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint unit sim spark docs bench gen-logs fuzz fuzz-api faults focus-validator \
  bpf lock clean

demo: $(VENV)/.runtime
	@$(BIN)/flowcost demo

test: lint unit sim spark

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests with real processes, kernels and browsers wait as long as a machine may take, and a crowded
# one may take longer: what fails among the others is run once more by itself, and both are shown.
UNIT := --ignore=tests/oracle --ignore=tests/spark
unit: $(STAMP)
	$(BIN)/pytest -q -n auto $(UNIT) || \
	  $(BIN)/pytest -q $(UNIT) --last-failed --last-failed-no-failures none

# The oracle: separate code and its own rate sheet re-derive every figure.
sim: $(STAMP)
	$(BIN)/pytest -q -n auto --dist loadfile tests/oracle

# A real standalone Spark on loopback; PySpark is half a gigabyte, so it is installed only here.
spark: $(VENV)/.spark
	$(BIN)/pytest -q tests/spark

# Write docs/reference from the code.
docs: $(STAMP)
	$(BIN)/python -m scripts.reference

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Realistic flow logs with an inventory and the truth about them: `make gen-logs ROWS=10000000`.
ROWS ?= 1000000
FORMAT ?= parquet
OUT ?= .cache/logs
gen-logs: $(STAMP)
	$(BIN)/python -m benchmarks.gen_logs $(OUT) --rows $(ROWS) --format $(FORMAT)

# Damaged files against the reference, then a million inputs guided by coverage: about an hour.
FUZZ_FILES ?= 100000
FUZZ_RUNS ?= 1000000
fuzz: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	$(BIN)/python -m fuzz.flow_logs $(FUZZ_FILES)
	mkdir -p .cache/fuzz
	$(BIN)/python -m fuzz.flow_files -runs=$(FUZZ_RUNS) -max_len=4096 -timeout=60 \
	  -artifact_prefix=.cache/fuzz- .cache/fuzz

# A hundred thousand bent requests to a whole server, in-process.
FUZZ_REQUESTS ?= 100000
fuzz-api: $(STAMP)
	$(BIN)/python -m fuzz.requests $(FUZZ_REQUESTS)

# Server and agents killed at random under load, again and again, for some minutes.
KILLS ?= 150
faults: $(STAMP)
	FLOWCOST_TEST_KILLS=$(KILLS) $(BIN)/pytest -q tests/server/test_faults.py

# The FOCUS export under the official validator. Its releases want libraries of their own, and the
# one that has the rules of 1.2 wants Python 3.12, so each has an environment of its own.
PYTHON_312 ?= 3.12
FOCUS_1 := .cache/focus-validator-1
FOCUS_2 := .cache/focus-validator-2
focus-validator: $(STAMP) $(FOCUS_1)/.installed $(FOCUS_2)/.installed
	FOCUS_VALIDATOR_PYTHON=$(CURDIR)/$(FOCUS_1)/bin/python \
	FOCUS_VALIDATOR_2_PYTHON=$(CURDIR)/$(FOCUS_2)/bin/python \
	  $(BIN)/pytest -q tests/bill/test_focus.py -k official

$(FOCUS_1)/.installed: | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(FOCUS_1)
	$(BIN)/uv pip install --quiet --python $(FOCUS_1)/bin/python \
	  focus-validator==1.0.0 'multimethod<2' 'pyarrow<20'
	@touch $@

$(FOCUS_2)/.installed: | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON_312) $(FOCUS_2)
	$(BIN)/uv pip install --quiet --python $(FOCUS_2)/bin/python \
	  focus-validator==2.2.1 'pyarrow<22'
	@touch $@

# The kernel side; the result is committed, and a test holds it to its source.
bpf:
	$(PYTHON) src/flowcost/agent/compile.py

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e . --group dev
	@touch $@ $(VENV)/.runtime

$(VENV)/.spark: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt --group spark
	@touch $@

# Re-resolve every version; the file names versions only, no host.
lock: | $(BIN)/uv
	$(BIN)/uv pip compile --quiet --universal --no-annotate --no-header --python-version 3.11 \
	  --all-extras --group dev --group spark pyproject.toml -o constraints.txt

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
