# Debian 12 with git, make and python3 is enough; `make setup` gets the rest. `make` alone shows this list.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint reproducible load mutation fuzz bench repairs strikes kills testkit torture troubles lock clean
# One run at a time: the recipes share the engine and the environment.
.NOTPARALLEL:

bin := .venv/bin

help: ## show this list
	@sed -En 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 14

setup: ## list what is missing and why, ask, install it (YES=1 answers)
	@.ci/setup $(setup_flags)

demo: setup_flags = --engine
demo: setup ## the whole way, from build to rollback, on real parts (KEEP=1 leaves the product running)
	@.ci/with-engine tests/demo/run

test: setup_flags = --engine
test: lint ## everything that is checked: style, types, units, real parts, load
	@.ci/with-engine .ci/test

lint: setup ## style and types
	@$(bin)/ruff check --quiet . && $(bin)/ruff format --check . && $(bin)/mypy

reproducible: setup_flags = --engine
reproducible: setup ## the same bytes in other folders, by other users, on Debian 13 with Python 3.13
	@.ci/with-engine $(bin)/python -m pytest -q -p no:cacheprovider tests/e2e/test_reproducible.py tests/e2e/other_python.py

load: setup_flags = --engine
load: setup ## every way to change what serves, under load, alone: the figures of docs/upgrades.md
	@.ci/with-engine $(bin)/python -m tests.load.upgrades

mutation: setup ## change the verifier in small ways and ask whether a test notices (MINUTES=60, goes on where it stopped)
	@$(bin)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r tests/mutation/requirements.lock
	@nice -n 15 $(bin)/python -m tests.mutation.run $(or $(MINUTES),60) $(MODULES)

fuzz: setup ## coverage-guided fuzzing of all that reads hostile bytes, 10 minutes (FUZZ_SECONDS=600)
	@$(bin)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r tests/fuzz/requirements.txt
	@$(bin)/python -m tests.fuzz.fuzz --seconds $(or $(FUZZ_SECONDS),600)

bench: setup ## the table of docs/performance.md, ours beside the stock tools (SCALE=1, RUNS=3, HUGE=40: GB of the largest bundle, ROWS=start,inspect)
	@$(bin)/python -m tests.bench --scale $(or $(SCALE),1) --runs $(or $(RUNS),3) --huge $(or $(HUGE),40) --rows "$(ROWS)"

repairs: setup ## heal pairs of copies with drawn damages (REPAIRS=500, FIRST=0)
	@REPAIRS=$(or $(REPAIRS),500) FIRST=$(or $(FIRST),0) $(bin)/python -m pytest -q -p no:cacheprovider tests/unit/repair/test_repair.py

strikes: setup ## every point at which a push, a pull or a build can be struck: all those of which make test takes a share
	@EVERY=1 $(bin)/python -m pytest -q -p no:cacheprovider tests/registry/test_publish_faults.py tests/unit/bundler/test_build_faults.py

kills: setup ## kill a build and a load at drawn system calls that change something, and run again (KILLS=100, SEED=6)
	@KILLS=$(or $(KILLS),100) SEED=$(or $(SEED),6) $(bin)/python -m pytest -q -p no:cacheprovider \
	  tests/e2e/test_build_killed.py tests/registry/test_load_killed.py

testkit: setup ## the test vectors of the age format (C2SP) against our reader; Go brings them
	@$(bin)/python -m tests.testkit "$$(go mod download -json c2sp.org/CCTV/age@v0.0.0-20251208015420-e9274a7bdbfd | sed -n 's/^\t"Dir": "\(.*\)",/\1/p')/testdata"

torture: setup_flags = --engine
torture: setup ## kill the program on real compose again and again (MINUTES=30, goes on where it stopped)
	@.ci/with-engine $(bin)/python -m tests.torture.real $(or $(MINUTES),30) $(or $(RESULTS),tests/torture/results.jsonl)

troubles: setup_flags = --engine
troubles: setup ## what can go wrong in each phase of an upgrade, on an engine of its own (MINUTES=60, goes on where it stopped)
	@.ci/with-engine $(bin)/python -m tests.torture.troubles $(or $(RESULTS),tests/torture/troubles.jsonl) $(or $(MINUTES),60)

lock: setup ## write requirements.lock again, with the newest releases that pyproject.toml allows
	@.ci/lock

clean: ## remove what was built here; the environment and the cache outside the repository stay
	@rm -rf build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find bundler installer tests -name __pycache__ -prune -exec rm -rf {} +
