# The two commands of the README are `make run` and `make test`. `make quick` is for the seconds between two edits.

CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}

# Debian's packages, each that is needed: they are installed without what they only recommend.
PACKAGES = ca-certificates gcc libc6-dev protobuf-compiler libprotobuf-dev
CLUSTER_PACKAGES = debian-archive-keyring etcd-server mariadb-client-core util-linux
TEST_PACKAGES = bsdutils chromium chromium-driver etcd-server mariadb-server openssl procps

.PHONY: run test cluster dist fresh web component quick check lint clippy bench bench-serve clients size deny setup setup-tests clean mutants fuzz fuzz-keep simulate

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

## A real Vitess cluster, with Debian's MySQL, driven through its workflows with vtflow beside vtctld: needs Go, 2 GB of disk
## for Vitess's programs and 4 GB of memory. PARTS names some of its parts.
cluster:
	@sh .ci/setup $(PACKAGES) $(CLUSTER_PACKAGES)
	@sh .ci/check
	@sh .ci/clients v24
	@sh tests/cluster/mysql-root $(TARGET)/cluster/mysql
	$(CARGO) run --quiet --bin xtask -- web component
	$(CARGO) build --bin vtflow --bin vtflow-cluster
	$(TARGET)/debug/vtflow-cluster suite $(PARTS)

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

## What GetWorkflows costs on large clusters, beside the same asks with the answers thrown away, the delays alone, and whatever VTCTLD
## and OLD (an older vtflow) name; and the planner alone, natively and in wasmtime, with the
## instructions that it takes. BENCH gives flags, such as --shards 256.
bench: component
	@sh .ci/setup $(PACKAGES) etcd-server valgrind
	$(CARGO) build --quiet --release --bin vtflow --bin vtflow-bench
	$(TARGET)/release/vtflow-bench --vtflow $(TARGET)/release/vtflow $(if $(VTCTLD),--vtctld $(VTCTLD)) $(if $(OLD),--old $(OLD)) $(BENCH)
	$(CARGO) bench --quiet -p vtflow-tests --bench planner_alone

## 200 clients at once on a served cluster, for SECONDS (60): answers for processor time, latencies, memory; beside OLD's.
bench-serve: setup
	@sh .ci/setup $(PACKAGES) etcd-server
	$(CARGO) build --quiet --release --bin vtflow --bin vtflow-bench
	$(TARGET)/release/vtflow-bench --vtflow $(TARGET)/release/vtflow $(if $(OLD),--old $(OLD)) many --seconds $(or $(SECONDS),60)

## Vitess's own clients, unmodified, against vtflow, and beside a real vtctld. Needs Go besides: nothing else here does.
clients:
	@.ci/clients check
	@sh .ci/setup $(PACKAGES) etcd-server
	@sh .ci/check
	@.ci/clients
	$(CARGO) build --bin vtflow --bin vtflow-clients
	$(TARGET)/debug/vtflow-clients --vtflow $(TARGET)/debug/vtflow --clients $(TARGET)/clients

## Which changes of the planner no test would notice: a table, and their names in target/mutants/missed.txt. One change alone:
## cargo mutants -p vtflow-planner --re ...; MUTANTS="--file planner/src/ops/** --jobs 2": some of them, two at a time.
mutants: setup
	@cargo-mutants --version 2>/dev/null || $(CARGO) install cargo-mutants --locked
	$(CARGO) run --quiet -p vtflow-mutants -- $(MUTANTS)

## libFuzzer over the targets of tests/fuzz, TIME seconds each; TARGETS: only these. No part of `make test`, which runs the inputs that are kept.
TIME = 60
fuzz: setup
	@sh .ci/setup g++
	$(CARGO) run --quiet --bin xtask -- component
	@.ci/fuzz $(TIME) $(TARGETS)

## What `make fuzz` has gathered, into tests/fuzz/corpus: few inputs that reach the same code.
fuzz-keep: setup
	@sh .ci/setup g++
	@.ci/fuzz keep $(TARGETS)

## The real server with a simulated cluster, SEEDS (1000) from FROM (0) on, of up to REQUESTS (200) each; LOG=1 prints every event;
## TRAFFIC=1: traffic is moved while applications write, in up to REQUESTS rounds, the first one aimed; ONLY=beside: at changes whose name
## begins so. BREAK breaks something on purpose.
## See docs/design/0012-simulation.md.
simulate: setup
	$(CARGO) bench --quiet -p vtflow-simulation --bench simulate --no-run
	$(CARGO) bench --quiet -p vtflow-simulation --bench simulate -- --seeds $(or $(SEEDS),1000) --from $(or $(FROM),0) \
		--requests $(or $(REQUESTS),200) $(if $(LOG),--log) $(if $(TRAFFIC),--traffic) $(if $(ONLY),--only $(ONLY)) $(if $(BREAK),--break $(BREAK)) 2>$(TARGET)/simulate.stderr

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
