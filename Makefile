# The two commands of the README are `make run` and `make test`. `make quick` is for the seconds between two edits.

CARGO ?= cargo
PACKAGES = protobuf-compiler libprotobuf-dev gcc libc6-dev
TEST_PACKAGES = etcd-server mariadb-server openssl bsdutils chromium chromium-driver

.PHONY: run test web component quick check lint bench bench-serve size deny setup setup-tests setup-wasm clean

## Sets up, builds and shows the demo cluster's workflows and the plan behind them.
run: setup
	@$(MAKE) --no-print-directory web component \
		|| echo "The page and the planner for --planner wasm could not be built (they need the target wasm32-unknown-unknown): the program goes without them."
	$(CARGO) build --release -p vtflow
	@echo
	@echo '$$ vtflow --demo get workflows customer'
	@target/release/vtflow --demo get workflows customer || test $$? -eq 1
	@echo
	@echo '$$ vtflow --demo plan workflows customer'
	@target/release/vtflow --demo plan workflows customer || test $$? -eq 1

## Sets up whatever the tests need and passes them all.
test: setup-tests size component lint
	$(CARGO) test --workspace --quiet

## The page, and the planner in it, into dist/: what is built after it has the page in it.
web: setup-wasm
	$(CARGO) run --quiet -p xtask -- web

## The planner as a component, dist/planner.wasm: what is built after it runs it with --planner wasm.
component: setup-wasm
	$(CARGO) run --quiet -p xtask -- component

## Formatting and the planner's own tests.
quick:
	$(CARGO) fmt --all --check
	$(CARGO) test -p vtflow-planner --quiet

check: test

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy -p vtflow-planner --target wasm32-unknown-unknown --quiet -- -D warnings

## What GetWorkflows costs on a large cluster, beside the same asks with the answers thrown away;
## and the planner in wasmtime beside the one that is linked in.
bench: component
	$(CARGO) bench --quiet -p vtflow-tests --bench get_workflows --bench planner_hosts

## 200 clients at once on a served cluster, for SECONDS (60): errors, latencies, memory.
bench-serve: setup
	$(CARGO) bench --quiet -p vtflow-tests --bench serve

## Bytes of the page with all that it loads, and of the planner in it.
size: web
	$(CARGO) run --quiet -p xtask -- size

deny:
	cargo-deny --all-features check

setup:
	@sh .ci/setup $(PACKAGES)

setup-tests:
	@sh .ci/setup $(PACKAGES) $(TEST_PACKAGES)

setup-wasm: setup
	@rustup target list --installed 2>/dev/null | grep -q wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown

clean:
	$(CARGO) clean
