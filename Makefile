# Everything a developer does here. `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

OPERATOR := runai-cluster-operator
CHART := charts/$(OPERATOR)

.PHONY: help demo up run test e2e lint fmt crds chart kube ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## one RunaiCluster through its life, on an own API server, or on the cluster of KUBECONFIG
	cargo run --quiet --package testbed -- demo

up: build ## Kubernetes API, simulator and operator; stays up until Ctrl-C
	cargo run --quiet --package testbed -- up

run: ## the operator against the cluster of KUBECONFIG
	cargo run --package $(OPERATOR) -- run --namespace runai-operator

test: build kube ## all tests; builds what they need
	@{ cargo test --workspace --no-fail-fast; echo $$? > target/test.status; } 2>&1 | tee target/test.log
	@awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "total: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' target/test.log
	@exit $$(cat target/test.status)

e2e: build kube ## only the tests with a real API server
	cargo test --package testbed
	cargo test --package $(OPERATOR) --test '*'

lint: ## format, clippy, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: its checks are skipped"; fi

fmt: ## format all code
	cargo fmt --all

crds: ## write the CRDs from the code, into crds/ and the chart
	UPDATE_CRDS=1 cargo test --quiet --package $(OPERATOR) --test crds

chart: kube ## lint and render the chart
	target/kube/bin/helm lint --strict $(CHART)
	target/kube/bin/helm template runai-operator $(CHART) --namespace runai-operator --kube-version 1.36.0

kube: ## build the Kubernetes binaries of the testbed (minutes, the first time)
	cargo run --package testbed -- kube

ci: lint test chart ## what a change must pass

.PHONY: build
build:
	cargo build --package $(OPERATOR) --package testbed --bins
