# Two commands are enough: `make demo` and `make test`. Each does all of its own set-up, once.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers
SPARK := $(VENV)/.spark
JDBC := $(VENV)/share/java/postgresql.jar
BENCH_PEERS := $(VENV)/bench-peers/.installed
PRIVACY_PEERS := $(VENV)/bench-accuracy/.installed
ANONYMETER := $(VENV)/bench-privacy/.installed
QUICKLY := -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF -DLLAMA_BUILD_COMMON=OFF -DGGML_NATIVE=OFF -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-O0

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs wheel bench-coverage bench-privacy attack-anonymeter audit-nightly bench-engine bench-telemetry bench-collector bench-spark bench-close bench-deletion soak-collector fuzz-collector clean

help:           ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 16

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("MetaVox needs Python 3.10 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[engine,server,collector,instrument,dev]'
	@touch $@

demo: $(INSTALLED)   ## The whole path on this machine: run, consent, contribute, release
	@$(BIN)/metavox demo

# llama-cpp-python has no wheel: it is built for tests alone, not optimised, in 4 minutes on 2 cores. Without compilers
# those tests are skipped, and the next `make test` looks again.
$(PEERS): $(INSTALLED)
	@if command -v cc >/dev/null && command -v c++ >/dev/null; then \
		CMAKE_ARGS="$(QUICKLY)" $(BIN)/python -m pip install --quiet --disable-pip-version-check \
			--constraint constraints.txt --editable '.[peers]' && touch $@; \
	else echo "There is no C and C++ compiler (cc, c++): tests with llama.cpp will be skipped."; fi

# 450 MB, for closing on a cluster alone.
$(SPARK): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[spark]'
	@touch $@

# PostgreSQL's driver for Java is in no Python package: it is taken out of Debian's, which nothing has to be root for.
# Elsewhere the tests that fold on Spark are skipped, and the next `make test` looks again.
$(JDBC): $(SPARK)
	@if test -e /usr/share/java/postgresql.jar; then mkdir -p $(@D) && cp /usr/share/java/postgresql.jar $@; \
	elif folder=$$(mktemp -d) && (cd $$folder && apt-get download libpostgresql-jdbc-java && dpkg -x *.deb .) >/dev/null 2>&1; \
		then mkdir -p $(@D) && cp $$folder/usr/share/java/postgresql.jar $@ && rm -r $$folder; \
	else rm -r $$folder; echo "PostgreSQL's JDBC driver cannot be had (apt-get download libpostgresql-jdbc-java): \
	tests with Spark will be skipped."; fi

test: $(PEERS) $(JDBC)  ## All tests
	@$(BIN)/pytest

lint: $(SPARK)       ## Formatting, lint, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)   ## Write the parts of the docs that derive from the code
	$(BIN)/python tools/docs.py

wheel: $(INSTALLED)  ## Build dist/*.whl
	$(BIN)/python -m build --wheel

bench-coverage: $(INSTALLED)  ## How often intervals hold what they should, as JSON in out/
	$(BIN)/python -m tests.bench.coverage

# Of the peers one needs an older scikit-learn than the others would take.
$(PRIVACY_PEERS): $(INSTALLED)
	$(PYTHON) -m venv $(VENV)/bench-accuracy
	$(VENV)/bench-accuracy/bin/python -m pip install --quiet --disable-pip-version-check \
		pipeline-dp==0.3.1 diffprivlib==0.6.6 opendp==0.16.0 scikit-learn==1.7.2
	@touch $@

bench-privacy: $(PRIVACY_PEERS)  ## Accuracy of private releases beside three peers, as JSON in out/
	$(BIN)/python -m tests.bench.privacy

# It asks for a numpy that the peers above are too new for.
$(ANONYMETER): $(INSTALLED)
	$(PYTHON) -m venv $(VENV)/bench-privacy
	$(VENV)/bench-privacy/bin/python -m pip install --quiet --disable-pip-version-check anonymeter==1.1.0 pandas polars
	@touch $@

attack-anonymeter: $(ANONYMETER)  ## What anonymeter finds in a release, as JSON in out/
	$(BIN)/python -m tests.bench.anonymeter

audit-nightly: $(INSTALLED)  ## The audit at length, more than an hour on 2 cores
	mkdir -p out && $(BIN)/metavox-collector audit --thorough --out out/audit.json

bench-engine: $(INSTALLED)  ## The engine on this CPU beside transformers and llama.cpp, as JSON in out/
	$(BIN)/python tests/bench/engine_cpu.py

bench-telemetry: $(INSTALLED)  ## What telemetry costs, beside OpenTelemetry's SDK, as JSON in out/
	$(BIN)/python tests/bench/telemetry.py

# They need other versions of what we use, and 1.3 GB.
$(BENCH_PEERS): $(INSTALLED)
	$(PYTHON) -m venv $(VENV)/bench-peers
	$(VENV)/bench-peers/bin/python -m pip install --quiet --disable-pip-version-check arize-phoenix==20.26.1 mlflow==3.17.2
	@touch $@

bench-collector: $(BENCH_PEERS)  ## The collector's speed beside Phoenix's and MLflow's, as JSON in out/
	$(BIN)/python -m tests.bench.collector

soak-collector: $(INSTALLED)  ## The collector's memory over 500,000 reports, as JSON in out/
	$(BIN)/python -m tests.bench.collector --soak 500000

fuzz-collector: $(INSTALLED)  ## 100,000 bodies that nobody should send, to the receiver
	$(BIN)/python -m tests.fuzz.receiving 100000

bench-close: $(INSTALLED)  ## What closing a week of a million reports costs, as JSON in out/
	$(BIN)/python -m tests.bench.closing

bench-deletion: $(INSTALLED)  ## What a deletion costs a collector on SQLite, as JSON in out/
	$(BIN)/python -m tests.bench.deletion

bench-spark: $(JDBC)  ## A million reports summed on Spark, beside SQL, as JSON in out/
	$(BIN)/python -m tests.bench.spark

clean:          ## Remove what these targets made
	rm -rf $(VENV) dist out .mypy_cache .ruff_cache .pytest_cache
