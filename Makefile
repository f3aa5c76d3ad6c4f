# The two commands of a fresh machine are `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ASTERISK22 ?= $(HOME)/.cache/redirectd-tests/asterisk22
PIP    := $(BIN)/pip --disable-pip-version-check --quiet --retries 5

.PHONY: help demo test check unit fast peers campaign field asterisk22 bench docs site deb debs image release pins clean

help: ## what can be made
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

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

asterisk22: $(VENV)/test.stamp ## the tests with Debian's files and the tutorials on Asterisk 22, of Debian unstable in a folder (root)
	.ci/install-asterisk22 $(ASTERISK22)
	PATH=$(ASTERISK22)/bin:$$PATH ASTERISK_ROOT=$(ASTERISK22)/root $(BIN)/pytest -q tests/peers/test_stock_hosts.py tests/peers/test_tutorials.py tests/peers/test_trunks.py -k "(asterisk or Gosub or trunk) and not with_a_database"

bench: $(VENV)/test.stamp ## speed and memory, side by side with other programs; asserts no times
	$(BIN)/python -m tests.bench

docs: $(VENV)/test.stamp ## makes the reference pages, man pages and completions anew from the program
	$(BIN)/python -m redirectd.cli.manual docs

site: $(VENV)/test.stamp ## the documentation as a site in ./site, built strictly
	$(BIN)/mkdocs build --strict --quiet

deb: $(VENV)/test.stamp ## a Debian package in ./dist, with its own virtual environment, for the Debian this is
	packaging/deb/build dist

image: ## builds the container's image and runs it, by buildah with chroot isolation (root)
	packaging/container/try $(HOME)/.cache/redirectd-tests/image

debs: ## the packages for Debian 12 and 13 in ./dist, each built and installed in a clean one (root)
	packaging/deb/build-in bookworm dist
	packaging/deb/build-in trixie dist

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
