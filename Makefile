# The two commands of a fresh machine are `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet --retries 5

.PHONY: help demo test check unit fast peers campaign field bench docs site deb release pins clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/demo.stamp ## the whole job on real logs, in ./redirectd-demo
	@rm -rf redirectd-demo
	$(BIN)/redirectd demo --folder redirectd-demo

test: $(VENV)/test.stamp ## everything: style, types, all tests, with real peers where this is Debian 12 and root
	.ci/install-peers
	$(MAKE) check unit

check: $(VENV)/test.stamp ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/test.stamp ## the tests, those with peers among them
	$(BIN)/pytest -n $${TEST_PROCESSES:-3} --dist loadgroup

fast: $(VENV)/test.stamp ## the inner loop: what needs no server, no service and no rendered page
	$(BIN)/pytest -q -x -n $${TEST_PROCESSES:-2} --dist loadgroup -m 'not peer and not bench' tests/sip tests/dialects tests/collect tests/plan tests/targets tests/config tests/store tests/review tests/sources tests/test_*.py

peers: ## installs what tests/peers talks to (Debian 12, root)
	.ci/install-peers

campaign: $(VENV)/test.stamp ## kills the running service 300 times and counts what is lost; reads 20,000 hostile messages
	$(BIN)/python -m tests.bench.crash_campaign --kills $${KILLS:-300} --seconds $${SECONDS_AT_MOST:-480}
	$(BIN)/python -m tests.bench.hostile_campaign --messages $${MESSAGES:-20000}

field: $(VENV)/test.stamp ## asks real servers about 2,000 random URIs a target, and writes tests/peers/RESULT (root, for the network namespace)
	unshare -n sh -c 'ip link set lo up; exec $(BIN)/python -m tests.peers.field_result'

bench: $(VENV)/test.stamp ## speed and memory, side by side with other programs; asserts no times
	$(BIN)/python -m tests.bench

docs: $(VENV)/test.stamp ## makes the reference pages, man pages and completions anew from the program
	$(BIN)/python -m redirectd.cli.manual docs

site: $(VENV)/test.stamp ## the documentation as a site in ./site, built strictly
	$(BIN)/mkdocs build --strict --quiet

deb: $(VENV)/test.stamp ## a Debian package in ./dist, with its own virtual environment (on Debian 12)
	packaging/deb/build dist

release: $(VENV)/test.stamp ## the archives of the tag that is checked out, their SBOM, notes and checksums, in ./dist
	packaging/release dist

pins: $(VENV)/test.stamp ## works the pinned requirements out anew
	$(BIN)/pip-compile -q --upgrade -o .ci/demo.txt pyproject.toml .ci/demo.in
	$(BIN)/pip-compile -q --upgrade --all-extras -o .ci/test.txt pyproject.toml .ci/test.in
	$(BIN)/pip-compile -q --upgrade --all-extras -c .ci/test.txt -o packaging/deb/requirements.txt pyproject.toml
	$(BIN)/pip-compile -q --upgrade -o packaging/sbom.txt packaging/sbom.in

clean: ## removes what was made
	rm -rf $(VENV) redirectd-demo dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/demo.stamp: .ci/demo.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r .ci/demo.txt
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: .ci/test.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r .ci/test.txt
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@ $(VENV)/demo.stamp
