# The two commands of the README are `make run` and `make test`. `make quick` is for the seconds between two edits.

CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}

# Debian's packages, each that is needed: they are installed without what they only recommend.
PACKAGES = ca-certificates gcc libc6-dev protobuf-compiler libprotobuf-dev
TEST_PACKAGES = bsdutils chromium chromium-driver etcd-server mariadb-server openssl procps

.PHONY: run test dist fresh web component quick check lint clippy bench bench-serve simulate size deny setup setup-tests clean

## Sets up, builds and shows the demo cluster's workflows and the plan behind them.
run: setup
	$(CARGO) run --bin xtask -- web component
	$(CARGO) build --bin vtflow
	@echo
	@echo '$$ vtflow --demo get workflows customer'
	@$(TARGET)/debug/vtflow --demo get workflows customer || test $$? -eq 1
	@echo
	@echo '$$ vtflow --demo plan workflows customer'
	@$(TARGET)/debug/vtflow --demo plan workflows customer || test $$? -eq 1

## Sets up whatever the tests need and passes them all.
test: setup-tests
	$(CARGO) fmt --all --check
	$(CARGO) run --quiet --bin xtask -- layers web component size
	$(MAKE) --no-print-directory clippy
	$(CARGO) test --workspace --quiet

## The program that people install, with the page and the component in it: target/dist/vtflow.
dist: setup
	$(CARGO) run --quiet --bin xtask -- web component
	$(CARGO) build --profile dist --bin vtflow
	@ls -l $(TARGET)/dist/vtflow

## Both commands of the README on a bare Debian, as root: before a release.
fresh:
	@bash .ci/fresh

## The page, and the planner in it, into dist/: what is built after it has the page in it.
web: setup
	$(CARGO) run --quiet --bin xtask -- web

## The planner as a component, dist/planner.wasm: what is built after it runs it with --planner wasm.
component: setup
	$(CARGO) run --quiet --bin xtask -- component

## Formatting, and the tests of the planner and of what people see of it.
quick:
	$(CARGO) fmt --all --check
	$(CARGO) test -p vtflow-planner -p vtflow-screen --quiet

check: test

lint: clippy
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy -p vtflow-planner --target wasm32-unknown-unknown --quiet -- -D warnings

## What GetWorkflows costs on a large cluster, beside the same asks with the answers thrown away;
## and the planner in wasmtime beside the one that is linked in.
bench: component
	$(CARGO) bench --quiet -p vtflow-tests --bench get_workflows --bench planner_hosts

## 200 clients at once on a served cluster, for SECONDS (60): errors, latencies, memory.
bench-serve: setup
	$(CARGO) bench --quiet -p vtflow-tests --bench serve

## The real server with a simulated cluster, SEEDS (1000) from FROM (0) on, of up to REQUESTS (200) each; LOG=1 prints every event.
## See docs/design/0012-simulation.md.
simulate: setup
	$(CARGO) bench --quiet -p vtflow-simulation --bench simulate --no-run
	$(CARGO) bench --quiet -p vtflow-simulation --bench simulate -- --seeds $(or $(SEEDS),1000) --from $(or $(FROM),0) \
		--requests $(or $(REQUESTS),200) $(if $(LOG),--log) $(if $(BREAK),--break $(BREAK)) 2>$(TARGET)/simulate.stderr

## Bytes of the page with all that it loads, and of the planner in it.
size: setup
	$(CARGO) run --quiet --bin xtask -- web size

deny:
	cargo-deny --all-features check

setup:
	@sh .ci/setup $(PACKAGES)
	@sh .ci/check

setup-tests:
	@sh .ci/setup $(PACKAGES) $(TEST_PACKAGES)
	@sh .ci/check tests

clean:
	$(CARGO) clean
