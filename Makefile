# The two commands of the README are `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?=
LISTEN ?= :9972

.PHONY: run test test-farm lint format bench dashboards proto clean

# Starts the daemon: on CONFIG=file, else on the nodes of your current buildx builder and the local
# Docker socket, else on the demo farm.
run: $(VENV)/run.stamp
	@$(BIN)/buildfarm-exporter run --web.listen-address $(LISTEN) $(if $(CONFIG),--config $(CONFIG),--or-demo)

# Installs what tests need and runs them: any machine with Python 3.11 or newer, no root.
test: $(VENV)/test.stamp
	$(BIN)/python -m pytest

# The same daemon against real nodes: root, Debian packages, Go.
test-farm: $(VENV)/test.stamp
	$(BIN)/python -m tests.realfarm.prepare
	$(BIN)/python -m pytest -o addopts="-ra --strict-markers" -n 3 --dist loadfile tests/realfarm

lint: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# What a look at a node costs, and a farm of 200: see docs/performance.md.
bench: $(VENV)/test.stamp
	$(BIN)/python -m tests.bench

# Makes grafana/dashboards/*.json anew after a change of grafana/*.py.
dashboards: $(VENV)/test.stamp
	$(BIN)/python -m grafana

# Makes the code of BuildKit's messages anew after a change of control.proto.
proto: $(VENV)/proto.stamp
	$(BIN)/python -m grpc_tools.protoc -Iexporter/buildkit --python_out=exporter/buildkit \
		--pyi_out=exporter/buildkit control.proto

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv is missing; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/run.stamp

$(VENV)/proto.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[proto]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
