# The front door for people and CI. `make demo` shows the system, `make test` is everything CI runs.

SHELL := /bin/bash
CARGO ?= cargo
DEMO_ARGS ?=
DEMO_DPUS ?= 4
DEMO_DIR ?= .dev
WASM_PACKAGES := rustc-web rust-web-src lld-19
# What tests start: a registry on loopback.
TEST_PACKAGES := docker-registry
SWITCH_PACKAGES := openvswitch-switch iproute2 iputils-ping

.PHONY: help
help: ## Say what there is.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: toolchain ## Build, start a development cluster with simulated DPUs and roll out the example.
	$(CARGO) build --quiet -p dpf-host -p dpfctl -p dpu-agent
	target/debug/dpfctl dev up --dpus $(DEMO_DPUS) --dir $(DEMO_DIR) --apply examples/producer-consumer $(DEMO_ARGS)

.PHONY: test
test: toolchain fmt-check lint unit doc deny ## Everything CI runs.

.PHONY: toolchain
toolchain: ## Make sure that plugins can be built for WebAssembly.
	@if rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs -r test -d; then exit 0; fi; \
	if dpkg -s $(WASM_PACKAGES) >/dev/null 2>&1; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(WASM_PACKAGES) >/dev/null; \
	else \
		echo "plugins are built for WebAssembly: run 'rustup target add wasm32-unknown-unknown'," \
			"or as root 'apt-get install $(WASM_PACKAGES)'" >&2; exit 1; \
	fi

.PHONY: test-tools
test-tools: ## Make sure that what tests start is there.
	@missing="$$(dpkg -s $(TEST_PACKAGES) >/dev/null 2>&1 || echo $(TEST_PACKAGES))"; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "tests need more: run as root 'apt-get install $$missing'" >&2; exit 1; \
	fi

.PHONY: switch
switch: ## As root, install what tests with a real switch need; the system's own switch is not started.
	@if dpkg -s $(SWITCH_PACKAGES) >/dev/null 2>&1; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "tests with a real switch are skipped: they need root and Debian's $(SWITCH_PACKAGES)" >&2; exit 0; \
	fi; \
	policy=/usr/sbin/policy-rc.d; made=; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy && made=$$policy; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(SWITCH_PACKAGES) >/dev/null; \
	code=$$?; if [ -n "$$made" ]; then rm -f "$$made"; fi; exit $$code

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --all --check

.PHONY: lint
lint: toolchain
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: unit
unit: toolchain test-tools switch ## Tests of all crates, end to end included.
	@# Builds the programs as well, with the same features: a separate build of them would compile most libraries twice.
	$(CARGO) test --workspace --quiet --no-run
	$(CARGO) test --workspace --quiet

.PHONY: doc
doc: toolchain
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

.PHONY: fresh
fresh: ## Generated files match what they are generated from (a test of xtask says the same).
	$(CARGO) run --quiet -p xtask -- crds --check

.PHONY: generate
generate: ## Write the generated files.
	$(CARGO) run --quiet -p xtask -- crds

.PHONY: deny
deny: ## Licences, sources and banned crates of the dependency tree.
	@command -v cargo-deny >/dev/null || $(CARGO) install --quiet --locked cargo-deny@0.20.2
	$(CARGO) deny --log-level error check bans licenses sources
