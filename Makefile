# OpenSCR: every target works from a clean clone with Python 3.11+, make and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests of one file run in one process, one file after the other: they share its services. One process more than there
# are cores, because many tests wait for the processes that they start (on 2 cores: 11 minutes with 3, 14 with 2).
PARALLEL ?= 3

.PHONY: run test lint format bench soak fuzz agreement docs docs-serve lock clean help

help:            ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP)    ## start the demo service on localhost
	@exec $(BIN)/openscr serve --demo

test: $(STAMP)   ## format, lint, types, floors, then every test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python scripts/system_packages.py slapd=slapd ldapsearch=ldap-utils chromium=chromium \
		rabbitmq-server=rabbitmq-server
	@$(BIN)/python -c "import proton" 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
			-r requirements.amqp10.lock 2>/dev/null \
		|| echo "python-qpid-proton cannot be compiled here: tests that need it are skipped" >&2
	@$(BIN)/python -m pytest -n $(PARALLEL) --dist loadfile $(ARGS)

lint: $(STAMP)   ## check format, lint and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

format: $(STAMP) ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## measure the cost of every operation (minutes)
	@$(BIN)/python -m benchmarks $(ARGS)
	@$(BIN)/python -m benchmarks.rules
	@$(BIN)/python -m benchmarks.strict
	@$(BIN)/python -m benchmarks.handshakes
	@$(BIN)/python -m benchmarks.audit
	@$(BIN)/python -m benchmarks.authorisation
	@$(BIN)/python -m benchmarks.mhs

soak: $(STAMP)   ## kill -9 and failing stores during a thousand uploads, then look at what is left (minutes)
	@PYTHONPATH=tests $(BIN)/python -m faults.soak $(ARGS)

fuzz: $(STAMP)   ## try hard input on every reader, a minute each
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install --quiet "atheris>=3" \
		|| echo "atheris is not to be had for this Python: seeded mutation instead"
	@$(BIN)/python -m tests.fuzz $(ARGS)

agreement: $(STAMP) ## compare level strict with the published schemas over 100,000 messages (minutes; needs the schemas)
	@PYTHONPATH=tests $(BIN)/python -m conformance.agreement $(ARGS)

docs: $(STAMP)   ## build the documentation into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

docs-serve: $(STAMP) ## show the documentation at http://127.0.0.1:8000 while you write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8000

lock:            ## renew requirements.lock from pyproject.toml, and that of the one library to be compiled
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet "uv>=0.9"
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --group dev pyproject.toml -o requirements.lock
	@echo "python-qpid-proton>=0.40,<1" | $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-header \
		-o requirements.amqp10.lock -

clean:           ## remove what was built
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
